"""Detectors that come with the program, a folder each; docs/models.md tells of their data and accuracy."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def names() -> list[str]:
    """What `SPPDetector.from_pretrained` takes beside folders."""
    return sorted(path.parent.name for path in HERE.glob("*/model.json"))


def folder_of(name_or_dir: str | Path) -> Path:
    """The model folder meant: one of the user's, or of these detectors.

    Raises:
        FileNotFoundError: there is neither.
    """
    folder = Path(name_or_dir)
    if folder.is_dir():
        return folder
    if str(name_or_dir) in names():
        return HERE / str(name_or_dir)
    known = ", ".join(names())
    raise FileNotFoundError(f"{name_or_dir}: no such folder, and none of the detectors that come along ({known})")
