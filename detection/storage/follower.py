"""The copy of a run folder in a process that torchrun started beside the one that holds the folder."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from detection.storage.lease import BEAT, PATIENCE, last_lease
from detection.storage.mounts import HOLDER, READER, Mount, lock, read_mark, write_mark
from detection.storage.working_copy import download_small

WAITED = 600.0  # seconds for which a copy may take to come


class Follower:
    """A copy that is only read, made while the first process of torchrun holds the folder.

    Processes on the holder's machine use its copy; on another machine the first one there makes a copy for all.

    Args:
        mount: the folders; gets the number of the lease.
        patience: seconds in which the first process has to appear.
    """

    def __init__(self, mount: Mount, patience: float = 2 * PATIENCE) -> None:
        self.mount, self.patience = mount, patience

    @contextmanager
    def held(self) -> Iterator[None]:
        """Give the copy within the block.

        Raises:
            RuntimeError: the first process does not appear.
            OSError: the storage cannot be reached.
        """
        local, remote = self.mount.local, self.mount.remote
        before = last_lease(remote)

        def at_work() -> bool:
            now = last_lease(remote)
            return now != before and now is not None and not now[1].released

        _wait(at_work, self.patience, f"{remote.url}: the first process of torchrun does not take it")
        found = last_lease(remote)
        assert found is not None
        self.mount.number, note = found
        if note.host == platform.node():
            made = (self.mount.number, HOLDER)
            _wait(lambda: read_mark(local) == made, WAITED, f"{remote.url}: no copy of it is made")
        else:
            _make(self.mount, local)
        yield


def _make(mount: Mount, local: Path) -> None:
    local.mkdir(parents=True, exist_ok=True)
    with lock(local):
        if read_mark(local)[0] != mount.number:
            shutil.rmtree(local)
            local.mkdir()
            download_small(mount)
            write_mark(local, mount.number, READER)


def _wait(until: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{otherwise} within {seconds:g} s; see what that process says")
        time.sleep(min(BEAT, seconds) / 10)
