"""Temporary files that become files in one step, and what killed processes leave of them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from pathlib import Path

_NAME_KEPT = 40  # characters of a name in that of its temporary file; the longest names leave no room for more
_NAME = re.compile(r"^\.(?:.*\.)?(\d+)-(?:([0-9a-f]{8})-)?[0-9a-f]{8}\.tmp(?:\.mp4)?$", re.DOTALL)  # process, machine
_STARTED = time.time()  # of this process
_DAY = 86_400.0  # seconds


def temporary_path(path: Path) -> Path:
    """Return a new name beside a file for what becomes the file; it says which process of which machine it is of."""
    return path.with_name(f".{path.name[-_NAME_KEPT:]}.{writer()}.tmp")


def writer() -> str:
    """Return what makes a name one of this process alone."""
    return f"{os.getpid()}-{_machine()}-{secrets.token_hex(4)}"


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files and folders that killed processes left in a folder.

    Those of running processes stay. Nothing is known of the processes of other machines, so of theirs those of the last
    day stay too.

    Args:
        folder: need not exist.

    Raises:
        OSError: the folder cannot be read.
    """
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        found = [(Path(entry.path), named) for entry in entries if (named := _NAME.match(entry.name))]
    for path, named in found:
        with contextlib.suppress(OSError):  # another process came first
            if _is_left(path, int(named[1]), named[2]):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_left(path: Path, process: int, machine: str | None) -> bool:
    """Whether the process that wrote a file is gone; files from before machines were noted are of this one."""
    written = path.stat().st_mtime
    if os.name == "nt" or machine not in (None, _machine()):
        return time.time() - written > _DAY
    if process == os.getpid():  # before a container was started again, another process had the same number
        return written < _STARTED
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


@functools.cache
def _machine() -> str:
    """Eight characters for the name of this machine."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
