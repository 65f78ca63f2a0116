"""Finds photos by the names that label files give them, which are often paths on another machine."""

from __future__ import annotations

import filecmp
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from data.files import PHOTOS
from data.folders import files_below
from data.split_names import kind_of

_SEPARATORS = re.compile(r"[/\\]+")
_NO_FOLDERS = ("", ".", "..")


class PhotoIndex:
    """The photos below a folder, by name.

    Args:
        data: folder or file of the data set.
        images: folder of the photos; None: that of the data set.
        key: what a labelling tool makes of the name of an uploaded file; None: it leaves it as it is.
    """

    def __init__(self, data: Path, images: Path | None = None, key: Callable[[str], str] | None = None) -> None:
        self._data = data if data.is_dir() else data.parent
        self.root = root = self._data if images is None else images
        self._key = key or str
        self.photos = [path for path in files_below(root) if path.suffix.lower() in PHOTOS]
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for path in self.photos:
            self._by_name[self._key(path.name)].append(path)
        self._by_stem = {path.with_suffix(""): path for path in reversed(self.photos)}

    def beside(self, label: Path) -> Path | None:
        """Return the photo that lies beside a label file and has its stem."""
        return self._by_stem.get(label.with_suffix(""))

    def find(self, names: Iterable[str], label: Path, split: str, size: int | None = None) -> Path | None:
        """Return the photo of a label file, or None if it is not there.

        It is the file of that name relative to the label file, or else the one that shares most of its last folders
        with a name, but none in the folder of another split. Of several, those of the stated size are preferred, then
        those in folders called like the split, like the folders of the label file or images, then the one beside the
        label file. Files with the same content are one photo.

        Args:
            names: what the label file calls the photo, the likeliest first; paths of any system.
            label: the label file.
            split: name of the split.
            size: of the photo's file in bytes; None: unknown.

        Raises:
            ValueError: several photos may be meant.
        """
        for name in names:
            parts, beside = path_parts(name), Path(os.path.normpath(label.parent / name))
            if parts and not os.path.isabs(name) and beside.is_file():
                return beside
            named = self._by_name.get(self._key(parts[-1]), []) if parts else []
            purposes = _purposes([*parts[:-1], split])
            found = [path for path in named if not _disagree(purposes, _purposes(_folders(path, self.root)))]
            if found:
                return self._best(found, parts, label, split, size)
        return None

    def _best(self, found: list[Path], parts: list[str], label: Path, split: str, size: int | None) -> Path:
        hints = {_word(part) for part in (split, "images", label.stem, *_folders(label, self._data))}
        preferences: list[Callable[[Path], float]] = [
            lambda path: _common_tail(path.parts, parts),
            lambda path: size is not None and path.stat().st_size == size,
            lambda path: len(hints.intersection(map(_word, _folders(path, self.root)))),
            lambda path: path.parent == label.parent,
        ]
        for preference in preferences:
            if len(found) > 1:
                values = [preference(path) for path in found]
                found = [path for path, value in zip(found, values, strict=True) if value == max(values)]
        different = next((path for path in found[1:] if not filecmp.cmp(found[0], path, shallow=False)), None)
        if different:
            name = "/".join(parts)
            raise ValueError(f"{label}: {name} may be {found[0]} or {different}; rename one, or put it elsewhere")
        return found[0]


def path_parts(name: str) -> list[str]:
    """Split a path of any system into its folders and file, without drive and dots."""
    parts = [part for part in _SEPARATORS.split(name) if part not in _NO_FOLDERS]
    return parts[1:] if len(parts) > 1 and re.fullmatch("[A-Za-z]:", parts[0]) else parts


def _common_tail(a: Iterable[str], b: Iterable[str]) -> int:
    """How many parts two paths share at their end."""
    count = 0
    for x, y in zip(reversed(list(a)), reversed(list(b)), strict=False):
        if x != y:
            break
        count += 1
    return count


def _folders(path: Path, root: Path) -> tuple[str, ...]:
    """The folders between a root and a file."""
    return path.parent.relative_to(root).parts if root in path.parents else ()


def _purposes(names: Iterable[str]) -> set[str]:
    """What folders say about the use of their photos: train, val or test."""
    return {kind for name in names if (kind := kind_of(name)) and kind != "trainval"}


def _disagree(a: set[str], b: set[str]) -> bool:
    return bool(a and b) and a.isdisjoint(b)


def _word(name: str) -> str:
    """What a name says: train of Train and train2017."""
    return kind_of(name) or name.lower()
