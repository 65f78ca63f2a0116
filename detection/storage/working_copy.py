"""A folder at a URL as a folder of this machine: what is there comes, what is written here goes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from detection.files import parse_json, write_atomically
from detection.storage.lease import Lease
from detection.storage.mounts import HOLDER, Mount, lock, read_mark, write_mark
from detection.storage.remote_folder import RemoteFolder

log = logging.getLogger(__name__)

PUSH = 5.0  # seconds between two looks for files that were written
DOWNLOADS = 16  # at a time
INDEX = ".index.json"

Files = dict[str, tuple[int, str]]
"""Name -> bytes and version of a file."""


def place_of(url: str, folder: Path) -> Path:
    """Return the folder of a URL's copy within a folder of copies; it has the end of the URL in its name."""
    end = re.sub(r"[^\w.-]+", "-", url.partition("://")[2])[-60:].strip("-.")
    return folder.resolve() / f"{end}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def refresh(mount: Mount) -> None:
    """Make a folder of this machine the same as a folder at a URL that is only read.

    Args:
        mount: the folders; gets a number that says what is there.

    Raises:
        FileNotFoundError: there is nothing at the URL.
        OSError: the storage cannot be reached.
    """
    local, remote = mount.local, mount.remote
    there = {name: version for name, version in remote.versions().items() if not _is_private(name)}
    if not there or "" in there:
        what = "is a file; give the folder that it is in" if there else "there is nothing here"
        raise FileNotFoundError(f"{remote.url}: {what}")
    local.mkdir(parents=True, exist_ok=True)
    with lock(local):
        known = _read_index(local)
        for name in known.keys() - there.keys():
            (local / name).unlink(missing_ok=True)
        new = [name for name, v in there.items() if known.get(name) != v or not (local / name).is_file()]
        _download(remote, new, local)
        _write_index(local, there)
        mount.number = int(hashlib.sha256(json.dumps(there, sort_keys=True).encode()).hexdigest()[:15], 16)
        write_mark(local, mount.number, HOLDER)


class WorkingCopy:
    """A run folder at a URL, which this process alone changes while it holds the copy.

    Files come at the start, except large ones, see `Mount`. They go in the order in which they are written, a few
    seconds later, so the folder at the URL is always one that an interrupted command has left.

    Args:
        mount: the folders; gets the number of the lease.
        lease: of the folder at the URL.
    """

    def __init__(self, mount: Mount, lease: Lease) -> None:
        self.mount, self.lease = mount, lease
        self._pushed: Files = {}
        self._ended = threading.Event()
        self._pushing = threading.Lock()
        self._thread = threading.Thread(target=self._push_often, name="push", daemon=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder within the block.

        Raises:
            RuntimeError: another process holds it, or has taken it over.
            OSError: the storage cannot be reached; files that it does not have yet stay here.
        """
        self.lease.acquire()
        try:
            self._pull()
            self._thread.start()
            try:
                yield
            except BaseException:
                try:
                    self._finish()
                except (OSError, RuntimeError) as error:  # what ended the work is raised
                    log.warning("%s", error)
                raise
            self._finish()
        finally:
            self.lease.release()

    def push(self) -> None:
        """Copy the files to the URL that have changed, oldest first, and delete those that are gone.

        Raises:
            RuntimeError: another process has taken the folder over.
            OSError: the storage cannot be reached.
        """
        with self._pushing:
            here = _files(self.mount)
            changed = [path for name, path in here.items() if _state(path) != self._pushed.get(name)]
            gone = self._pushed.keys() - here.keys()
            if not changed and not gone:
                return
            self.lease.check()
            self.mount.remote.delete(gone)
            for name in gone:
                del self._pushed[name]
            for path in sorted(changed, key=_age):
                with contextlib.suppress(FileNotFoundError):  # deleted since
                    state = _state(path)
                    self.mount.remote.upload(path, self.mount.name_of(path))
                    self._pushed[self.mount.name_of(path)] = state
            _write_index(self.mount.local, self._pushed)

    def _pull(self) -> None:
        """Make the copy whole: the last one of this machine, or a new one if another process worked since."""
        mount = self.mount
        mount.number = self.lease.number
        mount.local.mkdir(parents=True, exist_ok=True)
        with lock(mount.local):
            if read_mark(mount.local) != (mount.number - 1, HOLDER):
                shutil.rmtree(mount.local)
                mount.local.mkdir()
                download_small(mount)
                _write_index(mount.local, {name: _state(path) for name, path in _files(mount).items()})
            self._pushed = _read_index(mount.local)
            write_mark(mount.local, mount.number, HOLDER)

    def _finish(self) -> None:
        self._ended.set()
        self._thread.join()
        self.push()

    def _push_often(self) -> None:
        pause = PUSH
        while not self._ended.wait(pause):
            started = time.monotonic()
            try:
                self.push()
            except RuntimeError:
                return  # told at the end
            except OSError as error:
                log.warning("%s; trying again", error)
            pause = max(PUSH, 10 * (time.monotonic() - started))  # looking at very many files takes long


def download_small(mount: Mount) -> None:
    """Copy all files of a run folder here except large ones.

    Raises:
        OSError: the storage cannot be reached.
    """
    names = [name for name in mount.remote.versions() if not (_is_private(name) or name.endswith(mount.suffix))]
    _download(mount.remote, names, mount.local)


def _files(mount: Mount) -> dict[str, Path]:
    """Name -> path of the files here that are not large."""
    found: dict[str, Path] = {}
    for folder, folders, files in os.walk(mount.local):
        folders[:] = [name for name in folders if not _is_private(name)]
        for file in files:
            if not file.endswith(mount.suffix) and not _is_private(file):
                path = Path(folder, file)
                found[mount.name_of(path)] = path
    return found


def _is_private(name: str) -> bool:
    """Whether a file is a lock, temporary, or of the copy itself."""
    return any(part.startswith((".", "rows-")) for part in name.split("/"))


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _state(path: Path) -> tuple[int, str]:
    status = path.stat()
    return status.st_size, str(status.st_mtime_ns)


def _download(remote: RemoteFolder, names: Iterable[str], local: Path) -> None:
    with ThreadPoolExecutor(DOWNLOADS) as threads:
        for done in [threads.submit(remote.download, name, local / name) for name in names]:
            done.result()


def _read_index(local: Path) -> Files:
    try:
        stored = parse_json((local / INDEX).read_text("utf-8"))
        return {name: (int(size), str(version)) for name, (size, version) in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_index(local: Path, files: Mapping[str, tuple[int, str]]) -> None:
    write_atomically(local / INDEX, [json.dumps(files).encode()])
