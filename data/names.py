"""Names as text: of files, so that it can be written anywhere, and many names in one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PureWindowsPath

_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # surrogates that Python does not use for bytes


def readable(text: str) -> str:
    r"""Return text that can be encoded as UTF-8: a byte of a file name that is not UTF-8 becomes \xNN.

    Python holds such bytes as lone surrogates. A surrogate that stands for no byte becomes \uNNNN.
    """
    bytes_only = _NO_BYTE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return bytes_only.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def listed(names: Sequence[str], most: int = 20, separator: str = ", ") -> str:
    """Return the first names in one text: "cat, dog", and with `most` 2 "cat, dog, and 3 more"."""
    more = f"{separator}and {len(names) - most} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def check_plain(name: str, what: str, advice: str = "remove separators, drives and '..'") -> None:
    """Check that a name can be part of the name of a file on any system, and leads to no other folder.

    Bytes that are not UTF-8, which file names may have, are allowed.

    Args:
        name: of a split or a photo.
        what: what it names and where it was found, the start of the message.
        advice: what to do, the end of the message.

    Raises:
        ValueError: it is empty, has separators, a drive or unprintable characters, or is "." or "..".
    """
    printable = all(c.isprintable() or "\udc80" <= c <= "\udcff" for c in name)
    if PureWindowsPath(name).name != name or name in ("", ".", "..") or not printable:
        raise ValueError(f"{what} {name!r} is not a plain file name; {advice}")
