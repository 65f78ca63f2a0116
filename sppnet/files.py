"""Text files that are either whole or absent."""

from __future__ import annotations

from pathlib import Path

from detection.files import write_atomically


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step; its folder is made if absent.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [text.encode()])
