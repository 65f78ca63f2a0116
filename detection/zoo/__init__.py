"""Bundled detectors, one folder each. docs/models.md lists their training data and accuracy."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
MODEL = "model.json"


def names() -> list[str]:
    """Return the names of the bundled detectors."""
    return sorted(path.parent.name for path in HERE.glob(f"*/{MODEL}"))


def folder_of(name_or_dir: str | Path) -> Path:
    """Return the folder of a model.

    Args:
        name_or_dir: a model folder, a run folder that holds one called "model", or the name of a bundled detector.

    Raises:
        FileNotFoundError: it is neither a folder nor a bundled detector.
    """
    folder = Path(name_or_dir)
    if folder.is_dir():
        within = folder / "model"
        return within if not (folder / MODEL).exists() and (within / MODEL).is_file() else folder
    if str(name_or_dir) in names():
        return HERE / str(name_or_dir)
    known = ", ".join(names())
    raise FileNotFoundError(f"{name_or_dir}: neither a folder nor a bundled detector ({known})")
