"""Which photo each VOC annotation is of, and which split both belong to, by their names and folders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from data.files import preferred
from data.folders import files_below
from data.split_names import kind_of
from data.voc_xml import is_annotation, read_xml

ALL = "all"  # the split of annotations in no folder that is named like one


@dataclass(frozen=True)
class Pairs:
    """The annotations of a data set.

    Attributes:
        split_of: annotation file -> name of its split.
        photo_of: annotation file -> photo, of those that have one.
        photos: photo -> name of the split that its folder is named like, or `ALL`.
    """

    split_of: Mapping[Path, str]
    photo_of: Mapping[Path, Path]
    photos: Mapping[Path, str]

    @classmethod
    def below(cls, root: Path, images: Path | None = None) -> Pairs:
        """Find the annotations in a folder and its subfolders, and their photos.

        Args:
            root: the folder.
            images: folder of the photos; None: the same.

        Raises:
            OSError: a folder cannot be read.
            ValueError: an annotation may be of several photos, or a photo has several annotations.
        """
        files = files_below(root) if root.is_dir() else []
        texts = {path: _Place.of(path, root) for path in files if path.suffix.lower() == ".xml"}
        if not texts:
            return cls({}, {}, {})
        base, files = (root, files) if images is None else (images, files_below(images))
        photos = {path: _Place.of(path, base) for path in preferred(files)}
        photo_of = {path: photo for photo, path in _owners(texts, photos).items()}
        split_of = {
            path: place.split or (photos[photo_of[path]].split if path in photo_of else None) or ALL
            for path, place in texts.items()
            if path in photo_of or is_annotation(path)
        }
        return cls(split_of, photo_of, {photo: place.split or ALL for photo, place in photos.items()})

    def unlabelled(self, split: str) -> list[Path]:
        """Return the photos in the folders of a split that no annotation is of."""
        labelled = set(self.photo_of.values())
        return [photo for photo, of_split in self.photos.items() if of_split == split and photo not in labelled]


@dataclass(frozen=True)
class _Place:
    """Where a file is: the names of its folders below the data set, and that of them which names a split."""

    folders: tuple[str, ...]
    split: str | None

    @classmethod
    def of(cls, path: Path, root: Path) -> _Place:
        folders = path.relative_to(root).parts[:-1]
        return cls(folders, next(filter(kind_of, folders), None))

    def nearest(self, others: Mapping[Path, _Place]) -> list[Path]:
        """Return the files in the nearest folder, of those that belong to no other split.

        That is the same folder; else one that shares the most first and last folders, as annotations/a and images/a
        do; else the one with the shortest path.
        """
        near: dict[Path, tuple[bool, int, int]] = {}
        for path, place in others.items():
            if self.split is None or place.split in (self.split, None):
                shared = _equal(self.folders, place.folders) + _equal(self.folders[::-1], place.folders[::-1])
                near[path] = place.folders == self.folders, shared, -len(place.folders)
        best = max(near.values(), default=None)
        return [path for path, rank in near.items() if rank == best]


def _owners(texts: Mapping[Path, _Place], photos: Mapping[Path, _Place]) -> dict[Path, Path]:
    """Return photo -> its annotation; of several, the nearest."""
    named: dict[str, list[Path]] = defaultdict(list)
    for photo in photos:
        named[photo.stem].append(photo)
    owners: dict[Path, Path] = {}
    for path, place in texts.items():
        near = place.nearest({photo: photos[photo] for photo in _named_like(path, named)})
        if len(near) > 1:
            raise ValueError(f"{path}: can be of {near[0]} or {near[1]}; rename one of them")
        for photo in near:
            both = {owners.get(photo, path): None, path: None}
            best = photos[photo].nearest({one: texts[one] for one in both})
            if len(best) > 1:
                raise ValueError(f"{photo}: {best[0]} and {best[1]} both annotate it; remove one of them")
            owners[photo] = best[0]
    return owners


def _equal(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the number of first items that are the same."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _named_like(path: Path, named: Mapping[str, Sequence[Path]]) -> Sequence[Path]:
    """Return the photos with the name of an annotation file, or else with the name that it states."""
    if path.stem in named:
        return named[path.stem]
    try:
        stated = read_xml(path).findtext("filename") or ""
    except (OSError, ValueError):
        return ()
    name = PureWindowsPath(stated.strip()).name
    return named.get(name, ()) or named.get(PureWindowsPath(name).stem, ())
