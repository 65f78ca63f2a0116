"""Text files as people's programs write them."""

from __future__ import annotations

import codecs
from pathlib import Path


def read_text(path: Path) -> str:
    """Read a text file in UTF-8 or UTF-16, with or without a byte-order mark.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is in another encoding.
    """
    content = path.read_bytes()
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error.reason}); save it in UTF-8") from None


def _encoding(content: bytes) -> str:
    """Return the encoding of a text; without a mark, UTF-16 is known by the zero beside the first character."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if content[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if content[:1] == b"\0" else "utf-8-sig"
