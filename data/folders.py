"""Folders of a data set: all files below one of them, and names in upper or lower case."""

from __future__ import annotations

import os
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
            if path.is_file():
                found.append(path)
            elif path.is_dir():
                (links if entry.is_symlink() else waiting).append(path)
        links.sort(reverse=True)
    return sorted(found)


def folders_in(folder: Path) -> list[Path]:
    """Return the folders directly in a folder, sorted, without hidden ones; none if it is not a folder."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.is_dir())


def named(folder: Path, name: str) -> Path:
    """Return the entry of a folder with this name, in upper or lower case; `folder / name` if there is none."""
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact
    return next((p for p in sorted(folder.iterdir()) if p.name.lower() == name.lower()), exact)
