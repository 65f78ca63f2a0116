"""Atomic writing of files, and the mark by which this program knows its own."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

MARK = "Written by sppnet"
"""Part of every picture, film, page and settings file that the commands write."""

_NAME_KEPT = 40  # characters of a name in that of its temporary file; the longest names leave no room for more


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write `chunks` to a file in one step: readers see the old file or the new one, never a part.

    Raises:
        OSError: the file cannot be written; nothing of it is left behind.
    """
    temporary = path.with_name(f".{path.name[-_NAME_KEPT:]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.writelines(chunks)
        os.replace(temporary, path)
    except OSError as error:
        reason = f"{error.strerror or error}; the file was not written, make room or choose another folder"
        raise OSError(error.errno, reason, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
