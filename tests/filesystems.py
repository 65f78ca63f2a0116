"""File systems for tests: small ones that fill up and can be made read-only, where tests may mount them."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system in memory at a new folder; skips the test where none can be mounted."""
    folder.mkdir()
    if reason := mount(folder, megabytes * 2**20):
        pytest.skip(reason)
    try:
        yield folder
    finally:
        unmount(folder)


def mount(folder: Path, size: int) -> str | None:
    """Mount a file system in memory of so many bytes at an existing folder; return why it cannot be done, else None."""
    if os.name != "posix" or os.geteuid() != 0:
        return "only the administrator can mount a file system"
    done = _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    return f"no file system can be mounted here: {done.stderr.strip()}" if done.returncode else None


def unmount(folder: Path) -> None:
    """Unmount what `mount` has mounted, also while a file of it is open."""
    assert _run("umount", "--lazy", str(folder)).returncode == 0


def make_read_only(disk: Path) -> None:
    """Let nobody write to a `small_disk` any more."""
    assert _run("mount", "-o", "remount,ro", str(disk)).returncode == 0


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 1, "", f"there is no program {command[0]}")
