"""The photos below a folder, found by the ends of paths, which label files often state as on another machine."""

from __future__ import annotations

import filecmp
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

from data.files import HINT, PHOTOS
from data.folders import files_below
from data.split_names import kind_of


class PhotoIndex:
    """The photos below a folder, by name.

    `find` is for the files of labelling tools: each photo is found by itself, because such a file states what the tool
    calls a photo, which need not be a path of the data set. `data.photo_search.PhotoSearch` is for lists of paths.

    Args:
        data: folder or file of the data set.
        images: folder of the photos; None: that of the data set.
        key: what a labelling tool makes of the name of an uploaded file; None: it leaves it as it is.
    """

    def __init__(self, data: Path, images: Path | None = None, key: Callable[[str], str] | None = None) -> None:
        self._data = data if data.is_dir() else data.parent
        self.root = self._data if images is None else images
        self._key = key or str

    @cached_property
    def photos(self) -> list[Path]:
        """All photos, sorted."""
        return [path for path in files_below(self.root) if path.suffix.lower() in PHOTOS]

    def beside(self, label: Path) -> Path | None:
        """Return the photo that lies beside a label file and has its stem."""
        photos = self._by_stem.get(label.stem.lower(), ())
        return next((path for path in photos if path.with_suffix("") == label.with_suffix("")), None)

    def nearest(self, parts: Sequence[str], split: str = "", bare: bool = False) -> tuple[int, list[Path]]:
        """Return the photos that may be meant by a path.

        They have its name and share most of its last folders, in upper or lower case; none is in the folder of another
        split. Those whose names are written in the same way come before others.

        Args:
            parts: folders and name, see `path_parts`.
            split: name of the split; "": unknown.
            bare: the name may lack its suffix.

        Returns:
            how many folders they share, and the photos.
        """
        if not parts:
            return 0, []
        *folders, name = parts
        named = self._by_name.get(self._key(name).lower()) or (self._by_stem.get(name.lower()) if bare else None) or []
        purposes = _purposes([*folders, split])
        shared = {path: _common_tail(path.parent.parts, folders) for path in named if self._may_be_of(path, purposes)}
        most = max(shared.values(), default=0)
        found = [path for path, count in shared.items() if count == most]
        return most, [path for path in found if path.name == name] or found

    def find(self, names: Iterable[str], label: Path, split: str, size: int | None = None) -> Path | None:
        """Return the photo of a label file, or None if it is not there.

        It is the file of that name relative to the label file, or else the `nearest`. Of several, those of the stated
        size are preferred, then those in folders called like the split, like the folders of the label file or images,
        then the one beside the label file.

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
            if found := self.nearest(parts, split)[1]:
                return the_one(self._preferred(found, label, split, size), "/".join(parts), label)
        return None

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _grouped(self.photos, lambda path: self._key(path.name))

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _grouped(self.photos, lambda path: path.stem)

    def _may_be_of(self, path: Path, purposes: set[str]) -> bool:
        """Whether a photo is in no folder of another split."""
        own = _purposes(_folders(path, self.root))
        return not own or not purposes or bool(own & purposes)

    def _preferred(self, found: list[Path], label: Path, split: str, size: int | None) -> list[Path]:
        hints = {_word(part) for part in (split, "images", label.stem, *_folders(label, self._data))}
        preferences: list[Callable[[Path], float]] = [
            lambda path: size is not None and path.stat().st_size == size,
            lambda path: len(hints.intersection(map(_word, _folders(path, self.root)))),
            lambda path: path.parent == label.parent,
        ]
        for preference in preferences:
            if len(found) > 1:
                values = [preference(path) for path in found]
                found = [path for path, value in zip(found, values, strict=True) if value == max(values)]
        return found


def the_one(found: Sequence[Path], stated: str, source: Path) -> Path:
    """Return the photo that a label file states, of those that it can be; files with the same content are one photo.

    Raises:
        ValueError: they differ.
    """
    different = next((path for path in found[1:] if not filecmp.cmp(found[0], path, shallow=False)), None)
    if different:
        raise ValueError(f"{source}: {stated} can be {found[0]} or {different}; rename one; {HINT}")
    return found[0]


def path_parts(stated: str) -> tuple[str, ...]:
    """Return the folders and the name of a path as any system writes it, without slashes and dots before it."""
    parts = os.path.normpath(stated.replace("\\", "/")).split("/")
    return tuple(part for part in parts if part not in ("", ".", ".."))


def _grouped(photos: Iterable[Path], name: Callable[[Path], str]) -> dict[str, list[Path]]:
    """Name in lower case -> photos."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in photos:
        groups[name(path).lower()].append(path)
    return groups


def _common_tail(a: Sequence[str], b: Sequence[str]) -> int:
    """How many parts two paths share at their end, in upper or lower case."""
    pairs = zip(reversed(a), reversed(b), strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x.lower() != y.lower()), min(len(a), len(b)))


def _folders(path: Path, root: Path) -> tuple[str, ...]:
    """The folders between a root and a file."""
    return path.parent.relative_to(root).parts if root in path.parents else ()


def _purposes(names: Iterable[str]) -> set[str]:
    """What folders say about the use of their photos: train, val or test."""
    return {kind for name in names if (kind := kind_of(name)) and kind != "trainval"}


def _word(name: str) -> str:
    """What a name says: train of Train and train2017."""
    return kind_of(name) or name.lower()
