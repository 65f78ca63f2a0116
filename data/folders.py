"""Folders of a data set: all files below one of them, and names in upper or lower case."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, sorted, without hidden ones (.ipynb_checkpoints).

    Links to folders are followed. A folder is read once, however many links lead to it, so circles of links end.

    Raises:
        OSError: a folder cannot be read.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting, links = [folder], list[Path]()  # links wait until the folders have been read under their own paths
    while waiting or links:
        place = waiting.pop() if waiting else links.pop()
        status = place.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in os.scandir(place):
            path = place / entry.name
            if entry.name.startswith("."):
                continue
            if _target(entry).is_file():
                found.append(path)
            elif _target(entry).is_dir():
                (links if entry.is_symlink() else waiting).append(path)
        links.sort(key=lambda path: (len(path.parts), path), reverse=True)
    return sorted(found)


def folders_in(folder: Path) -> list[Path]:
    """Return the folders directly in a folder, sorted, without hidden ones; none if it is not a folder."""
    if not folder.is_dir():
        return []
    shown = (entry for entry in os.scandir(folder) if not entry.name.startswith("."))
    return sorted(folder / entry.name for entry in shown if _target(entry).is_dir())


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files directly in a folder with one of these suffixes, in upper or lower case; sorted, none hidden."""
    if not folder.is_dir():
        return []
    shown = (entry for entry in os.scandir(folder) if not entry.name.startswith("."))
    found = (folder / entry.name for entry in shown if _target(entry).is_file())
    return sorted(path for path in found if path.suffix.lower() in suffixes)


def _target(entry: os.DirEntry[str]) -> Path | os.DirEntry[str]:
    """Return what says whether an entry is a file or folder: a link that leads to itself is neither, not an error."""
    return Path(entry.path) if entry.is_symlink() else entry


def named(folder: Path, name: str) -> Path:
    """Return the entry of a folder with this name, in upper or lower case; `folder / name` if there is none."""
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact
    return next((p for p in sorted(folder.iterdir()) if p.name.lower() == name.lower()), exact)
