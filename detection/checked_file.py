"""Files whose last line is a checksum of all before it, so that damage on the disk is noticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from detection.files import write_atomically

_MARK = b"\nsha256 "  # begins the last line
_LENGTH = len(_MARK) + 64 + 1


def write_checked(path: Path, data: bytes | memoryview) -> None:
    """Write a file atomically, with its checksum.

    Raises:
        OSError: the file cannot be written; nothing of it is left behind.
    """
    write_atomically(path, [data, _MARK, hashlib.sha256(data).hexdigest().encode(), b"\n"])


def read_checked(path: Path) -> bytes:
    """Read a file written by `write_checked`, without its checksum.

    Raises:
        ValueError: the contents are not those that were written, or the file has no checksum.
        OSError: the file cannot be read.
    """
    whole = path.read_bytes()
    data, line = whole[:-_LENGTH], whole[-_LENGTH:]
    if not line.startswith(_MARK):
        raise ValueError("no checksum: torn, or from an earlier version")
    if line != _MARK + hashlib.sha256(data).hexdigest().encode() + b"\n":
        raise ValueError("the contents do not match the checksum")
    return data
