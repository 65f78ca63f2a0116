"""Folders that appear whole: what a killed process leaves of one is removed when it is written again."""

import signal
import subprocess
import sys

import pytest

import sppnet
from tests.data.test_yolo import BOX, photo, write

KILLED = """
import os, sys
from pathlib import Path
from data import writers

with writers.new_folder(Path(sys.argv[1])) as folder:
    (folder / "images").mkdir()
    (folder / "images" / "a.png").write_bytes(b"half a photo")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("name", ["written", "x" * 250])
def test_what_a_killed_conversion_left_is_removed_by_the_next_one(tmp_path, name):
    photo(tmp_path / "data" / "images" / "a.png")
    write(tmp_path / "data" / "labels" / "a.txt", BOX)
    write(tmp_path / ".notes.123", "of somebody else")
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / name])
    assert killed.returncode == -signal.SIGKILL
    (left,) = [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
    assert (left / "images" / "a.png").is_file()
    sppnet.convert_dataset(tmp_path / "data", tmp_path / name, "coco")
    assert {path.name for path in tmp_path.iterdir()} == {"data", name, ".notes.123"}
