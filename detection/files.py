"""Atomic writing of files, names that any file may have, and the mark by which this program knows its own files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detection.temporary import temporary_path

MARK = "Written by sppnet"
"""Part of every picture, film, page and settings file that the commands write."""

_LONGEST = 150  # bytes of a name within a file name, which may have 255
_NO_FILE_NAME = re.compile(r"[%/\\\x00-\x1f\x7f]|^\.+$")


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write `chunks` to a file in one step: readers see the old file or the new one, never a part.

    Raises:
        OSError: the file cannot be written; nothing of it is left behind.
    """
    temporary = temporary_path(path)
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


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Return the value of a JSON text from a stranger; what is not JSON always raises ValueError.

    `json.loads` raises RecursionError where lists are nested too deeply.

    Args:
        text: the text, or its bytes.
        options: of `json.loads`.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def file_name(text: str) -> str:
    """Return a name of a class as part of a path, so that no name leads to another folder.

    Characters that would are replaced as in web addresses: "a/b" is "a%2Fb", ".." is "%2E%2E". Letters of all alphabets
    and spaces stay, which `urllib.parse.quote` replaces too. Different names stay different; very long ones end in a
    digest.
    """
    quoted = _NO_FILE_NAME.sub(lambda found: "".join(f"%{ord(c):02X}" for c in found[0]), text) or "%"
    content = quoted.encode("utf-8", "surrogateescape")
    if len(content) <= _LONGEST:
        return quoted
    kept = content[: _LONGEST - 17].decode("utf-8", "ignore")
    return f"{kept}%{hashlib.sha256(content).hexdigest()[:16]}"
