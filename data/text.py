"""Text files as people's programs write them."""

from __future__ import annotations

import codecs
from pathlib import Path


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, with or without a byte-order mark, or in UTF-16 with one.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is in another encoding.
    """
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({error.reason})") from None
