"""Which folders of this machine are copies of folders at URLs, and their large files, which come when they are read.

A process mounts what its command names; workers of an engine mount the same (`Mounting`). Maps and photos are named by
paths everywhere, so a path decides whether a file has to come from a URL first, or go to it. Without a mount, the
functions here are those of `pathlib`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from detection.engines.engine import Engine, Make, R, T
from detection.files import write_atomically
from detection.storage.remote_folder import RemoteFolder

SWEEP = 64  # files that come between two looks at how much disk they take
KEPT = 0.8  # of the allowed disk, after old files have gone
LISTED = 10.0  # seconds for which a list of a folder's files serves
HOLDER, READER = "holder", "reader"


@dataclass
class Mount:
    """A folder of this machine that stands for one at a URL.

    Attributes:
        local: the folder of this machine.
        remote: the folder at the URL.
        suffix: of the files that come when they are read; all others are here already. "" for all files.
        disk: bytes that these files may take; None: any number.
        number: of the lease that the folder at the URL is held under; of what is there, if it is only read.
    """

    local: Path
    remote: RemoteFolder
    suffix: str = ""
    disk: float | None = None
    number: int = 0
    _came: int = field(default=0, repr=False)
    _lists: dict[Path, tuple[float, set[str]]] = field(default_factory=dict, repr=False)

    def name_of(self, path: Path) -> str:
        """The name of a file or folder at the URL; "" for the folder itself."""
        return "" if path == self.local else path.relative_to(self.local).as_posix()

    def names(self, folder: Path) -> set[str]:
        """The names of the files in a folder at the URL, as they were at most `LISTED` seconds ago."""
        listed, found = self._lists.get(folder, (-LISTED, set()))
        if time.monotonic() - listed > LISTED:
            below = (self.local / name for name in self.remote.versions(self.name_of(folder)))
            found = {path.name for path in below if path.parent == folder}
            self._lists[folder] = time.monotonic(), found
        return found

    def bring(self, path: Path) -> None:
        """Copy a file here, if it is not; FileNotFoundError if it does not exist there either."""
        if not path.exists():
            self.remote.download(self.name_of(path), path)
            self._sweep()
        elif self.disk is not None:
            path.touch()  # the files that were read last stay longest

    def write(self, path: Path, chunks: Iterable[bytes | memoryview]) -> None:
        """Write a file at the URL, and then here, so that what is here is there."""
        data = b"".join(chunks)
        self.remote.write(self.name_of(path), data)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, [data])
        if path.parent in self._lists:
            self._lists[path.parent][1].add(path.name)
        self._sweep()

    def remove(self, path: Path) -> None:
        """Delete a file at the URL."""
        self.remote.delete([self.name_of(path)])
        if path.parent in self._lists:
            self._lists[path.parent][1].discard(path.name)

    def join(self) -> None:
        """Prepare the folder in a worker, perhaps on another machine: copies of what was there before go."""
        self.local.mkdir(parents=True, exist_ok=True)
        with lock(self.local):
            if read_mark(self.local)[0] != self.number:
                for path in self.local.rglob(f"*{self.suffix}"):
                    if not path.is_dir():
                        path.unlink(missing_ok=True)
                write_mark(self.local, self.number, READER)

    def _sweep(self) -> None:
        """Once in a while, delete the files that were not read for longest if they take too much disk."""
        self._came += 1
        if self.disk is None or self._came % SWEEP:
            return
        found = [(path, path.stat()) for path in self.local.rglob(f"*{self.suffix}") if path.is_file()]
        size = sum(status.st_size for _, status in found)
        limit = self.disk if size <= self.disk else KEPT * self.disk
        for path, status in sorted(found, key=lambda one: one[1].st_mtime_ns):
            if size <= limit:
                return
            path.unlink(missing_ok=True)
            size -= status.st_size


_mounts: list[Mount] = []


def current() -> tuple[Mount, ...]:
    """Return the mounts of this process."""
    return tuple(_mounts)


def mount_of(path: Path) -> Mount | None:
    """Return the mount that a path lies in, if any."""
    return next((m for m in _mounts if m.local == path or m.local in path.parents), None)


@contextmanager
def mounted(mount: Mount) -> Iterator[None]:
    """Mount a folder within the block."""
    _mounts.append(mount)
    try:
        yield
    finally:
        _mounts.remove(mount)


def bring(path: Path) -> None:
    """Make a file that lies in a mount be here.

    Raises:
        FileNotFoundError: it is not at the URL either.
        OSError: the storage cannot be reached.
    """
    if (mount := mount_of(path)) is not None:
        mount.bring(path)


def is_file(path: Path) -> bool:
    """Tell whether there is a file, here or at its URL."""
    if path.is_file():
        return True
    mount = mount_of(path)
    return mount is not None and path.name in mount.names(path.parent)


def write(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write a file in one step, in a mount also at its URL.

    Raises:
        OSError: it cannot be written; nothing of it is left behind here.
    """
    if (mount := mount_of(path)) is None:
        write_atomically(path, chunks)
    else:
        mount.write(path, chunks)


def remove(path: Path) -> None:
    """Delete a file, if there is one, also at its URL.

    Raises:
        OSError: it cannot be deleted.
    """
    if (mount := mount_of(path)) is not None:
        mount.remove(path)
    path.unlink(missing_ok=True)


def names(folder: Path) -> set[str]:
    """Return the names of the files in a folder, here or at its URL.

    Raises:
        OSError: there is no such folder, or the storage cannot be reached.
    """
    found = {path.name for path in folder.iterdir()}
    mount = mount_of(folder)
    return found if mount is None else found | mount.names(folder)


def lock(local: Path) -> FileLock:
    """Return what keeps other processes of this machine off the making of a copy."""
    return FileLock(local.with_name(f".{local.name}.lock"))


def read_mark(local: Path) -> tuple[int, str]:
    """Return the number of the lease under which a copy was made, and who made it; (0, "") if it is not whole."""
    try:
        number, role = (local / ".lease").read_text().split()
        return int(number), role
    except (OSError, ValueError):
        return 0, ""


def write_mark(local: Path, number: int, role: str) -> None:
    """Note the lease under which a copy was made, and whether by its holder, whose copy is the newest."""
    (local / ".lease").write_text(f"{number} {role}")


@dataclass(frozen=True)
class Mounting:
    """An engine whose workers mount what this process has mounted, see `Engine`.

    Args:
        engine: does the work.
    """

    engine: Engine

    def map(self, make: Make[T, R], items: Iterable[T]) -> Generator[tuple[T, Future[R]], None, None]:
        """Yield each item with its finished future, see `Engine.map`."""
        yield from self.engine.map(_Mounted(make, current()), items)


@dataclass(frozen=True)
class _Mounted:
    """What a worker calls first, see `Make`."""

    make: Make
    mounts: tuple[Mount, ...]

    def __call__(self) -> Callable:
        known = {mount.local for mount in _mounts}
        for mount in self.mounts:
            if mount.local not in known:
                mount.join()
                _mounts.append(mount)
        return self.make()
