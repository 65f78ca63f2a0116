"""Which photos an artefact was made from, so that a photo replaced under its name is noticed.

A record is a json file beside the artefact. It holds, for each image, the photo's bytes, its times of change and its
SHA-256 as they were when the work on it began, and the (H, W) that its annotation states. A photo has changed if its
hash or that size differs. It is hashed only if bytes or times differ from the record: unchanged photos cost one look
at the file system each, and photos that were touched or copied to another folder are recognised.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from detection.files import parse_json, write_atomically

if TYPE_CHECKING:
    from data.records import ImageRecord

FORMAT = 1
Stat = tuple[int, ...]


@dataclass(frozen=True)
class PhotoState:
    """What is known of a photo.

    Attributes:
        stat: bytes, and the times of the last changes of its contents and of its entry, ns.
        sha256: of its contents, in hexadecimal.
        size: (H, W) that the annotation states, which decides how the photo is turned; None if none does.
    """

    stat: Stat
    sha256: str
    size: tuple[int, int] | None

    def shows_the_same(self, other: PhotoState) -> bool:
        """Whether both give the same pixels."""
        return (self.sha256, self.size) == (other.sha256, other.size)


class PhotoRecord:
    """The photos that an artefact was made from.

    The order of work keeps a record true however the work ends: what was made of changed photos is deleted, then the
    photos are noted, then the artefact is made.

    Args:
        path: the json file; it need not exist.

    Attributes:
        path: the json file.
        known: image id -> state when work on the image began.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = _load(path)

    def look(self, records: Iterable[ImageRecord]) -> dict[str, PhotoState]:
        """Return the state of each image's photo now, without those that cannot be read."""
        states: dict[str, PhotoState] = {}
        unsure: list[tuple[ImageRecord, Stat]] = []
        for record in records:
            stat, known = stat_of(record.path), self.known.get(record.id)
            if known and known.stat == stat:
                states[record.id] = PhotoState(stat, known.sha256, _size(record.size))
            elif stat:
                unsure.append((record, stat))
        digests = sha256_of([record.path for record, _ in unsure])
        for (record, stat), digest in zip(unsure, digests, strict=True):
            if digest:
                states[record.id] = PhotoState(stat, digest, _size(record.size))
        return states

    def changed(self, now: Mapping[str, PhotoState]) -> list[str]:
        """Return the ids of the images whose photos are not those recorded.

        Args:
            now: from `look`; images without a record count as unchanged.
        """
        return [i for i, state in now.items() if i in self.known and not self.known[i].shows_the_same(state)]

    def note(self, now: Mapping[str, PhotoState]) -> None:
        """Record photos; entries of other images stay.

        Raises:
            OSError: the file cannot be written, and photos are other ones than it says.
        """
        if all(self.known.get(i) == state for i, state in now.items()):
            return
        try:
            self._write(now)
        except OSError:
            if not all(i in self.known and self.known[i].shows_the_same(state) for i, state in now.items()):
                raise

    def _write(self, now: Mapping[str, PhotoState]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):  # others may note other images at the same time
            self.known = _load(self.path) | dict(now)
            photos = {i: [s.stat, s.sha256, s.size] for i, s in self.known.items()}
            text = json.dumps({"format": FORMAT, "photos": photos})
            write_atomically(self.path, [text.encode()])


def stat_of(path: Path) -> Stat:
    """Return bytes, and the times of the last changes of contents and entry in ns; empty if there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def sha256_of(paths: Iterable[Path]) -> list[str]:
    """Return the SHA-256 of the contents of each file, in hexadecimal; empty if a file cannot be read."""
    files = list(paths)
    if not files:
        return []
    with ThreadPoolExecutor() as threads:
        return list(threads.map(_sha256, files))


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _size(size: tuple[int, int] | None) -> tuple[int, int] | None:
    return None if size is None else (int(size[0]), int(size[1]))


def _load(path: Path) -> dict[str, PhotoState]:
    try:
        stored = parse_json(path.read_text("utf-8"))
        if stored["format"] != FORMAT:
            raise ValueError(f"format {stored['format']}, expected {FORMAT}")
        photos = stored["photos"].items()
        return {i: _state(*values) for i, values in photos}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{path}: damaged ({error}); delete it, and give --overwrite if photos were replaced"
        ) from None


def _state(stat: Any, sha256: Any, size: Any) -> PhotoState:
    """Return the state that a record states; ValueError or TypeError if it is none."""
    if not isinstance(sha256, str) or not all(type(number) is int for number in stat):
        raise ValueError("expected whole numbers and a SHA-256 in hexadecimal")
    if size is None:
        return PhotoState(tuple(stat), sha256, None)
    height, width = size
    return PhotoState(tuple(stat), sha256, _size((height, width)))
