"""Who may import whom, and that a stranger's `data` package does no harm."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"data", "proposals", "detection", "classification", "tools"}
LEAVES = {"detection.boxes", "detection.image", "detection.files", "detection.pictures.contact_sheet"}


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported(path):
    """(module, only for types) of each import of ours in a file."""
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
    target = name.split(".")[0]
    if target == package:
        return True
    if package == "proposals":
        return any(name.startswith(leaf) for leaf in LEAVES) or (typed and name.startswith("data.records"))
    if package == "classification":
        return target == "detection" or (typed and name.startswith("data."))
    if package == "detection":
        if target == "proposals":
            return path.name == "detector.py"
        return typed and name.startswith("data.records")
    return False


@pytest.mark.parametrize("package", ["data", "proposals", "detection", "classification"])
def test_packages_import_only_what_the_layers_allow(package):
    for path in modules(package):
        for name, typed in imported(path):
            assert allowed(package, path, name, typed), f"{path.relative_to(ROOT)} imports {name}"


def test_the_rules_catch_a_forbidden_import(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("from data.voc import load\nimport tools.common\nfrom detection.svm import train\n")
    found = list(imported(file))
    assert len(found) == 3
    assert not any(allowed("proposals", file, *item) for item in found)
    assert not any(allowed("detection", file, *item) for item in found[:2])
    assert not any(allowed("classification", file, *item) for item in found[:2])


def test_detection_works_beside_a_foreign_data_package(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").write_text("raise RuntimeError('not the data package of this project')\n")
    code = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]
import numpy as np
from detection import SPPDetector, network
from detection.config import PAPER
from detection.model import Model
from detection.svm import LinearDetectors
body = network.build("alexnet", weights=None)
svms = LinearDetectors(np.zeros((1, body.channels * 50), np.float32), np.ones(1, np.float32), 1.0)
model = Model(("thing",), PAPER.with_scales((160,)), "alexnet", body.weights_hash, svms)
photo = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
print(len(SPPDetector(body, model).detect(photo)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_importing_the_package_is_light():
    code = "import sys, detection; print('torch' in sys.modules, detection.__version__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout
    assert out.startswith("False")
