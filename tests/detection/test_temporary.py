"""Temporary files of killed processes are deleted, those of others are not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from detection import temporary
from detection.files import write_atomically
from detection.temporary import remove_leftovers, temporary_path

ROOT = Path(__file__).parents[2]
WRITE = """
import sys, time
from pathlib import Path
from detection.files import write_atomically

def chunks():
    yield b"begun"
    print("begun", flush=True)
    time.sleep(60)

write_atomically(Path(sys.argv[1]), chunks())
"""


@pytest.fixture
def dead() -> int:
    """The number of a process that is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("name", ["model.json", "ü" * 100 + ".npz", "a\nb", ".hidden", "x" * 255])
def test_names_of_temporary_files_fit_and_tell_their_process(tmp_path, name):
    path = temporary_path(tmp_path / name)
    path.touch()
    assert path.parent == tmp_path
    assert int(temporary._NAME.match(path.name)[1]) == os.getpid()


def test_what_a_killed_process_was_writing_is_deleted_once_it_is_gone(tmp_path):
    argv = [sys.executable, "-c", WRITE, str(tmp_path / "finetune.pt")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout.readline() == b"begun\n"
        remove_leftovers(tmp_path)
        (written,) = tmp_path.iterdir()
        process.send_signal(signal.SIGKILL)
    assert written.exists()
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_leftovers_of_earlier_versions_folders_and_films_are_deleted_too(tmp_path, dead):
    (tmp_path / f".finetune.pt.{dead}-0123abcd.tmp").touch()
    (tmp_path / f".{dead}-{temporary._machine()}-0123abcd.tmp.mp4").touch()
    folder = tmp_path / f".packed.{dead}-{temporary._machine()}-0123abcd.tmp"
    folder.mkdir()
    (folder / "svms.safetensors").touch()
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())
    remove_leftovers(tmp_path / "absent")


def test_files_of_others_stay(tmp_path, dead):
    names = [
        *("notes.tmp", ".notes.tmp", f"model.json.{dead}-0123abcd.tmp", f".model.json.{dead}-0123abcd.npz"),
        f".model.json.{os.getppid()}-0123abcd.tmp",  # a process that runs
        f".model.json.{os.getpid()}-0123abcd.tmp",  # another thread of this one
        f".model.json.{dead}-00000000-0123abcd.tmp",  # a process of another machine
    ]
    for name in names:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == set(names)


def test_old_files_of_another_machine_and_of_this_process_before_a_restart_are_deleted(tmp_path, dead):
    yesterday = time.time() - 90_000
    for name in (f".a.{dead}-00000000-0123abcd.tmp", f".a.{os.getpid()}-0123abcd.tmp"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (yesterday, yesterday))
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_write_leaves_its_file_alone(tmp_path):
    write_atomically(tmp_path / "a", [b"x"])
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
