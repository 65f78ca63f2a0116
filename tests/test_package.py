"""What is installed from a wheel or an sdist works away from the clone."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from data import minivoc

ROOT = Path(__file__).parents[1]
PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path

import sppnet
from detection import model, network, zoo
from detection.weights.state_dict import write_state
from sppnet.cli import main

site = Path(sys.argv[1])
assert Path(sppnet.__file__).is_relative_to(site), sppnet.__file__
body = network.build("lite0", weights=None)
write_state(Path("lite0.safetensors"), body.state_dict())
packed = model.load(zoo.folder_of("lite0-pool5-voc2007"))
replace(packed, weights_hash=body.weights_hash).save(Path("model"))
detect = ["detect", sys.argv[2], "--model", "model", "--weights", "lite0.safetensors", "--json", "f.json"]
sys.exit(main(detect) or main(["report", "absent"]) - 1 or main(["stage", "--help"]))
"""
BUILD = "from setuptools import build_meta as b; import sys; print(getattr(b, 'build_' + sys.argv[1])(sys.argv[2]))"


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The files that belong to the project, without what building leaves among them."""
    copy = tmp_path_factory.mktemp("sources")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("needs a git clone")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


def build(kind, sources, into):
    """The wheel or sdist of a folder."""
    done = subprocess.run([sys.executable, "-c", BUILD, kind, str(into)], cwd=sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return into / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(sources, tmp_path_factory):
    return build("sdist", sources, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel that is built from the sdist, as an installer would."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return build("wheel", next(folder.iterdir()), tmp_path_factory.mktemp("wheel"))


PACKAGES = ("classification", "data", "detection", "proposals", "sppnet")


@pytest.mark.slow
def test_the_wheel_holds_all_that_the_program_reads(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
        code = {str(p.relative_to(ROOT)) for p in (ROOT / package).rglob("*.py")}
        assert code <= names, code - names
    kept = [
        *ROOT.glob("detection/zoo/*/*"),
        *(p for p in ROOT.glob("sppnet/*/*.*") if p.suffix in {".html", ".css", ".js"}),
    ]
    kept = {str(p.relative_to(ROOT)) for p in kept if "__pycache__" not in p.parts}
    assert len(kept) > 10
    assert kept <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "tools/"))]


@pytest.mark.slow
def test_the_wheel_has_one_command(wheel):
    archive = zipfile.ZipFile(wheel)
    (entries,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert archive.read(entries).decode().split() == ["[console_scripts]", "sppnet", "=", "sppnet.cli:main"]


def test_the_sdist_holds_what_a_packager_needs(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "setup.cfg", "pyproject.toml"} <= names


@pytest.mark.slow
def test_what_is_installed_detects_away_from_the_clone_beside_foreign_packages(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "here" / "detection").mkdir(parents=True)
    for name in ("data.py", "detection/__init__.py"):
        (tmp_path / "here" / name).write_text("raise RuntimeError('not the package of this project')\n")
    photo = next((minivoc.generate(tmp_path / "kit", train=1, test=1, seed=0) / "VOC2007" / "JPEGImages").iterdir())
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}  # searched after the script's own folder
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "site"), str(photo)]
    done = subprocess.run(arguments, cwd=tmp_path / "here", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here" / "f.json").is_file()
