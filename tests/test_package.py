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

import detection
from detection import model, network, zoo
from detection.weights.state_dict import write_state
from detection.tools import detect

assert detection.__file__.startswith(sys.argv[1]), detection.__file__
body = network.build("lite0", weights=None)
write_state(Path("lite0.safetensors"), body.state_dict())
packed = model.load(zoo.folder_of("lite0-pool5-voc2007"))
replace(packed, weights_hash=body.weights_hash).save(Path("model"))
sys.exit(detect.main([sys.argv[2], "--model", "model", "--weights", "lite0.safetensors", "--json", "f.json"]))
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


def test_the_wheel_holds_all_that_the_program_reads(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("classification", "data", "detection", "proposals"):
        assert f"{package}/py.typed" in names
    kept = [p for p in ROOT.glob("detection/zoo/*/*") if "__pycache__" not in p.parts]
    assert kept
    assert {str(p.relative_to(ROOT)) for p in kept} <= names
    assert {f"detection/tools/templates/{p.name}" for p in ROOT.glob("tools/templates/*")} <= names
    assert {f"detection/tools/{p.name}" for p in ROOT.glob("tools/*.py")} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "tools/"))]


def test_the_sdist_holds_what_a_packager_needs(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "setup.cfg", "pyproject.toml"} <= names


def test_what_is_installed_detects_away_from_the_clone(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    photo = next((minivoc.generate(tmp_path / "kit", train=1, test=1, seed=0) / "VOC2007" / "JPEGImages").iterdir())
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "site"), str(photo)]
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f.json").is_file()
