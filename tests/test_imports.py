"""Who may import whom; importing sppnet is light, and works beside foreign packages of the same names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("data", "proposals", "detection", "classification", "sppnet")
OURS = {*PACKAGES, "tools", "benchmarks", "tests"}
HEADERS = "data.photo_files"
"""What proposals and detection may use of data."""

LEAVES = {
    *("detection.boxes", "detection.image", "detection.files", "detection.checked_file", "detection.npz_file"),
    *("detection.photo_record", "detection.plain_values", "detection.engines"),
    "detection.pictures.contact_sheet",
}
"""What proposals may use of detection."""

LONGEST_TOOL = 80  # lines


def modules(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path):
    """Yield (name, only for types) of each import of one of our modules in a file."""
    tree = ast.parse(path.read_text())
    typed = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] in OURS:
                yield name, id(node) in typed


def allowed(package, path, name, typed):
    """data imports none of ours; proposals and detection its reader of photo headers; proposals leaves of detection;
    detection proposals in detector.py alone; classification detection; sppnet all of these; nothing imports tools,
    tests or benchmarks."""
    target = name.split(".")[0]
    if target == package:
        return True
    if package == "sppnet":
        return target in PACKAGES
    if typed and name.startswith("data."):
        return True
    if name.startswith(HEADERS):
        return package in ("proposals", "detection")
    if package == "proposals":
        return any(name.startswith(leaf) for leaf in LEAVES)
    if package == "classification":
        return target == "detection"
    if package == "detection":
        return target == "proposals" and path.name == "detector.py"
    return False


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_the_layers_allow(package):
    for path in modules(package):
        for name, typed in imported(path):
            assert allowed(package, path, name, typed), f"{path.relative_to(ROOT)} imports {name}"


def test_the_rules_catch_a_forbidden_import(tmp_path):
    file = tmp_path / "x.py"
    file.write_text(
        "from data.voc import load\nimport tools.train\nfrom detection.svm import train\nimport sppnet.run\n"
    )
    found = list(imported(file))
    assert len(found) == 4
    assert not any(allowed("proposals", file, *item) for item in found)
    assert not any(allowed("detection", file, *item) for item in (found[0], found[1], found[3]))
    assert not any(allowed("classification", file, *item) for item in (found[0], found[1], found[3]))
    assert [allowed("sppnet", file, *item) for item in found] == [True, False, True, True]


def import_graph():
    """Map each of our modules to those it imports, at module level or inside functions, but not only for types."""
    paths = {}
    for path in (path for package in sorted(PACKAGES) for path in modules(package)):
        parts = path.relative_to(ROOT).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path

    def module_of(name):  # "detection.boxes.iou" is in "detection.boxes"
        return name if name in paths else name.rpartition(".")[0]

    return {
        module: {module_of(name) for name, typed in imported(path) if not typed} & paths.keys() - {module}
        for module, path in paths.items()
    }


def circles(graph):
    """Return the sets of modules that import each other, directly or through others."""

    def reachable(module):
        seen, waiting = set(), list(graph[module])
        while waiting:
            if (other := waiting.pop()) not in seen:
                seen.add(other)
                waiting += graph[other]
        return seen

    reach = {module: reachable(module) for module in graph}
    return {frozenset(m for m in reach[module] if module in reach[m]) for module in graph if module in reach[module]}


def test_no_modules_import_each_other():
    graph = import_graph()
    assert "detection.pictures.drawing" in graph["detection.detections"]  # an import inside a function
    assert circles(graph) == set()


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles(graph) == {frozenset("bc")}


def test_tools_are_thin_and_imported_by_nothing():
    tools = modules("tools")
    assert len(tools) >= 20
    for path in tools:
        assert len(path.read_text().splitlines()) <= LONGEST_TOOL, path.name
        assert {name for name, _ in imported(path)} == {"sppnet.cli.main"}, path.name
    for folder in (*PACKAGES, "benchmarks", "tests"):
        for path in modules(folder):
            assert not [name for name, _ in imported(path) if name.split(".")[0] == "tools"], path


def test_benchmarks_import_no_command():
    for path in modules("benchmarks"):
        assert not [name for name, _ in imported(path) if name.startswith("sppnet.cli")], path


def test_argparse_stays_in_the_command_line():
    for package in PACKAGES:
        for path in modules(package):
            if "cli" not in path.relative_to(ROOT).parts:
                assert "argparse" not in path.read_text(), path


FOREIGN = "raise RuntimeError('not the package of this project')\n"


@pytest.fixture
def foreign(tmp_path):
    """A folder with packages of our names that must not be touched, and a `data` folder without code."""
    for name in ("detection", "proposals", "classification"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(FOREIGN)
    (tmp_path / "data.py").write_text(FOREIGN)
    return tmp_path


def run_beside(folder, code):
    """Run code whose own folder is searched first, as for a script; sppnet is found behind it."""
    code = f"import sys\nsys.path[:0] = [{str(folder)!r}]\nsys.path.append({str(ROOT)!r})\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)


def test_detection_works_beside_foreign_packages(foreign):
    code = """
import sppnet
import numpy as np
from detection import network
from detection.config import PAPER
from detection.model import Model
from detection.svm import LinearDetectors
from data import minivoc
body = network.build("alexnet", weights=None)
svms = LinearDetectors(np.zeros((1, body.channels * 50), np.float32), np.ones(1, np.float32), 1.0)
model = Model(("thing",), PAPER.with_scales((160,)), "alexnet", body.weights_hash, svms)
photo = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
print(len(sppnet.SPPDetector(body, model).detect(photo)))
"""
    done = run_beside(foreign, code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_a_foreign_module_that_is_imported_already_is_named(foreign):
    (foreign / "data.py").write_text("mine = True\n")
    done = run_beside(foreign, "import data, sppnet")
    assert done.returncode == 1
    assert "sppnet has a package 'data', but another module of that name is imported already" in done.stderr


def test_importing_sppnet_is_light():
    code = "import sys, sppnet; print({'torch', 'cv2', 'numba', 'yaml'} & sys.modules.keys(), sppnet.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("set()"), done


def test_the_stages_import_scikit_learn_and_pandas_only_where_they_use_them():
    code = "import sys, sppnet.detector.training; print({'sklearn', 'pandas', 'matplotlib'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "set()\n", done


def test_public_names_of_sppnet_are_those_of_their_homes():
    import sppnet
    from detection.detections import Detections
    from detection.detector import SPPDetector

    assert (sppnet.SPPDetector, sppnet.Detections) == (SPPDetector, Detections)
    assert all(getattr(sppnet, name) is not None for name in sppnet.__all__)
    assert set(sppnet.__all__) <= set(dir(sppnet))
    with pytest.raises(AttributeError, match="has no attribute 'SPPDetectors'"):
        _ = sppnet.SPPDetectors
