"""The right of one process to change a folder at a URL, which a process that died loses.

File locks do not hold there. A lease is a file with a number, made so that of several processes one succeeds; its
holder counts up in it every few seconds. Who finds the last lease released, or its count unchanged for a while, may
make the next. So no clocks are compared, and the numbers tell who held the folder last.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import threading
import time
from dataclasses import dataclass

from detection.files import parse_json
from detection.storage.remote_folder import RemoteFolder

log = logging.getLogger(__name__)

FOLDER = ".leases"
BEAT = 5.0  # seconds between two counts
PATIENCE = 30.0  # seconds without a count after which a holder is taken for dead


@dataclass(frozen=True)
class Note:
    """What a lease says.

    Attributes:
        host, process: of the holder.
        count: how often it has counted.
        released: whether it is done.
    """

    host: str
    process: int
    count: int = 0
    released: bool = False

    def pack(self) -> bytes:
        """The note as the contents of a file."""
        return json.dumps(vars(self)).encode()

    @classmethod
    def unpack(cls, data: bytes) -> Note:
        """The note in a file; of an unknown holder if the file is damaged."""
        try:
            values = parse_json(data)
            return cls(str(values["host"]), int(values["process"]), int(values["count"]), bool(values["released"]))
        except (ValueError, KeyError, TypeError):
            return cls("unknown", 0)

    @property
    def is_dead(self) -> bool:
        """Whether the holder is a process of this machine that has ended."""
        if self.host != platform.node() or self.process == os.getpid():
            return False
        try:
            os.kill(self.process, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
        return False


class Lease:
    """A lease of a folder, held from `acquire` to `release`.

    Args:
        remote: the folder.
        beat: seconds between two counts.
        patience: seconds without a count after which another holder is taken for dead.

    Attributes:
        number: of the lease; whoever held the folder later has a higher one.
        lost: whether another process has taken the folder over, because this one could not count for so long.
    """

    def __init__(self, remote: RemoteFolder, beat: float = BEAT, patience: float = PATIENCE) -> None:
        self.remote, self.beat, self.patience = remote, beat, patience
        self.number, self.lost = 0, False
        self._note = Note(platform.node(), os.getpid())
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Take the folder, once its last holder is done or dead.

        Raises:
            RuntimeError: another process holds it.
            OSError: the storage cannot be reached or written.
        """
        last = last_number(self.remote)
        if last:
            self._wait_for(last)
        self.number = last + 1
        try:
            self.remote.create(_name(self.number), self._note.pack())
        except FileExistsError:
            raise RuntimeError(_refusal(self.remote, "another process")) from None
        old = [name for name in self.remote.versions(FOLDER) if name < _name(self.number)]
        self.remote.delete(old)
        self._thread = threading.Thread(target=self._count, name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Say that the holder is done; what a storage that has failed would raise is left out."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if not self.lost:
            with contextlib.suppress(OSError):
                self.remote.write(_name(self.number), Note(self._note.host, self._note.process, 0, True).pack())

    def check(self) -> None:
        """Check that no other process has taken the folder over.

        Raises:
            RuntimeError: one has.
            OSError: the storage cannot be reached.
        """
        if self.lost or last_number(self.remote) > self.number:
            self.lost = True
            what = f"another process took it over, because this one gave no sign for {self.patience:g} s"
            raise RuntimeError(f"{self.remote.url}: {what}; what it did since is not stored")

    def _wait_for(self, number: int) -> None:
        """Return once the holder of a lease is done or dead; RuntimeError if it is alive."""
        first = _read(self.remote, number)
        if first.released or first.is_dead:
            return
        holder = f"process {first.process} of {first.host}"
        log.info("%s: %s held it last; waiting %g s for a sign of it", self.remote.url, holder, self.patience)
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            time.sleep(min(self.beat, self.patience) / 2)
            now = _read(self.remote, number)
            if now.released:
                return
            if now.count != first.count:
                raise RuntimeError(_refusal(self.remote, holder))
        log.info("%s: nothing from %s; going on from what it stored", self.remote.url, holder)

    def _count(self) -> None:
        """Count up until the end, or until another process has taken over."""
        while not self._ended.wait(self.beat):
            with contextlib.suppress(OSError):  # the next time may go well
                try:
                    self.check()
                except RuntimeError:
                    return
                self._note = Note(self._note.host, self._note.process, self._note.count + 1)
                self.remote.write(_name(self.number), self._note.pack())


def last_number(remote: RemoteFolder) -> int:
    """Return the number of the last lease of a folder, 0 if there was none.

    Raises:
        OSError: the storage cannot be reached.
    """
    stems = (name.rpartition("/")[2].removesuffix(".json") for name in remote.versions(FOLDER))
    return max((int(stem) for stem in stems if stem.isdigit()), default=0)


def last_lease(remote: RemoteFolder) -> tuple[int, Note] | None:
    """Return the number of the last lease of a folder and what it says; None if there was none.

    Raises:
        OSError: the storage cannot be reached.
    """
    number = last_number(remote)
    try:
        return (number, Note.unpack(remote.read(_name(number)))) if number else None
    except FileNotFoundError:  # the next one was made
        return last_lease(remote)


def _name(number: int) -> str:
    return f"{FOLDER}/{number:012d}.json"


def _read(remote: RemoteFolder, number: int) -> Note:
    try:
        return Note.unpack(remote.read(_name(number)))
    except FileNotFoundError:  # the next holder has deleted it
        raise RuntimeError(_refusal(remote, "another process")) from None


def _refusal(remote: RemoteFolder, holder: str) -> str:
    return f"{remote.url}: {holder} is working on it; wait for it, or choose another --run"
