"""Where YOLO data sets keep their photos and labels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from data.files import IMAGE_SUFFIXES, images_in
from data.folders import files_below, files_in, folders_in, named
from data.split_names import kind_of
from data.text import read_text
from data.yolo_names import CLASS_LISTS

_LISTS = frozenset({*CLASS_LISTS, "default.txt", "all.txt"})

log = logging.getLogger(__name__)


def find_splits(root: Path) -> dict[str, list[Path]]:
    """Return split name -> images of folders without data.yaml; empty if they hold no YOLO data set.

    Looks for `<split>/images` with labels, for `images` with or without one folder per split, and for photos with
    their label files beside them, with or without one folder per split; there, folders without any label file are
    left out with a warning. The images of a data set without splits are the split "all".
    """
    pairs = {p.name: named(p, "images") for p in folders_in(root)}
    pairs = {split: p for split, p in pairs.items() if p.is_dir() and (_labels(p).is_dir() or _labelled(p))}
    images = named(root, "images")
    if images.is_dir() and _labels(images).is_dir():
        below = {p.name: p for p in folders_in(images) if named(_labels(images), p.name).is_dir()}
        divided = any(map(kind_of, below)) or not files_in(images, IMAGE_SUFFIXES)
        pairs = below if below and divided else {"all": images}
    elif images.is_dir() and _labelled(images):
        pairs = _by_name(images)
    elif not pairs and _labelled(root):
        return {split: _images_beside(folder) for split, folder in _by_name(root).items()}
    return {split: images_in(folder) for split, folder in pairs.items()}


def labels_by_split(root: Path) -> dict[str, list[Path]]:
    """Return split name -> label files, of a data set whose photos are elsewhere; empty if there are none.

    A file belongs to the split that a folder of its path is named after, others to the split "all".
    """
    texts = [p for p in files_below(root) if p.suffix.lower() == ".txt" and not _is_list(p)] if root.is_dir() else []
    places = {p.parent for p in texts if _holds_labels(p)}
    found: dict[str, list[Path]] = {}
    for path in texts:
        if path.parent in places:
            folders = path.relative_to(root).parts[:-1]
            found.setdefault(next(filter(kind_of, folders), "all"), []).append(path)
    return found


def _by_name(folder: Path) -> dict[str, Path]:
    """Return the subfolders that are named like splits, or the folder itself as the split "all"."""
    below = {p.name: p for p in folders_in(folder) if kind_of(p.name) and _labelled(p)}
    return below or {"all": folder}


def _images_beside(folder: Path) -> list[Path]:
    """Return the images below a folder that lie beside label files, unlike for example the pictures of a run."""
    images, texts = images_in(folder), [p for p in files_below(folder) if p.suffix.lower() == ".txt"]
    places = {place for place in {p.parent for p in texts} if _labelled(place)}
    kept = [p for p in images if p.parent in places]
    if len(kept) < len(images):
        other = next(p.parent for p in images if p.parent not in places)
        number = len(images) - len(kept)
        log.warning("%s: left out %d photos in folders without labels, such as %s", folder, number, other)
    return kept


def _is_list(path: Path) -> bool:
    """Whether a text file is named like a list of photos or classes."""
    return path.name.lower() in _LISTS or kind_of(path.stem) is not None


def _labels(images: Path) -> Path:
    return named(images.parent, "labels")


def _labelled(folder: Path) -> bool:
    """Whether a photo below a folder has a label file beside it."""
    if not folder.is_dir():
        return False
    files = files_below(folder)
    photos = {p.with_suffix("") for p in files if p.suffix.lower() in IMAGE_SUFFIXES}
    return any(p.with_suffix("") in photos and _holds_labels(p) for p in files if p.suffix.lower() == ".txt")


def _holds_labels(path: Path) -> bool:
    """Whether the first line of a file is a class and at least four numbers."""
    try:
        first = next((line.split() for line in read_text(path).splitlines() if line.strip()), [])
        return len([float(text) for text in first]) >= 5
    except (OSError, ValueError):
        return False


class Labels:
    """Finds the label file of each photo; folders are read once.

    Args:
        known: photo -> label file, of photos that lie elsewhere; empty: all labels are where YOLO expects them.
    """

    def __init__(self, known: Mapping[Path, Path] | None = None) -> None:
        self._known = known or {}
        self._folders: dict[Path, list[Path]] = {}
        self._texts: dict[Path, dict[str, Path]] = {}

    def of(self, photo: Path) -> Path | None:
        """Return the label file of a photo: in the folder of labels, or else beside the photo; None: it has none."""
        if self._known:
            return self._known.get(photo)
        found = (self._in(folder).get(photo.stem) for folder in self._beside(photo.parent))
        return next((path for path in found if path), None)

    def unused(self, photos: Iterable[Path]) -> list[Path]:
        """Return the label files in the folders of these photos' labels that belong to no photo on disk."""
        used: set[Path | None] = set()
        there: set[Path] = set()
        for folder in {photo.parent for photo in photos if photo.parent.is_dir()}:
            used.update(map(self.of, images_in(folder)))
            for place in filter(Path.is_dir, self._beside(folder)):
                texts = [p for p in files_below(place) if p.suffix.lower() == ".txt" and not _is_list(p)]
                there.update(p for p in texts if place != folder or _holds_labels(p))
        return sorted(there - used)

    def _beside(self, folder: Path) -> list[Path]:
        if folder not in self._folders:
            self._folders[folder] = label_folders(folder)
        return self._folders[folder]

    def _in(self, folder: Path) -> dict[str, Path]:
        if folder not in self._texts:
            self._texts[folder] = {p.stem: p for p in files_in(folder, (".txt",)) if p.name not in CLASS_LISTS}
        return self._texts[folder]


def label_folders(photos: Path) -> list[Path]:
    """Return where the labels of the photos in a folder may lie.

    In the folder's path, the last folder named images, in upper or lower case, becomes labels; else the labels lie
    beside the photos.
    """
    parts = photos.parts
    at = next((i for i in reversed(range(len(parts))) if parts[i].lower() == "images"), None)
    if at is None:
        return [photos]
    place = named(Path(*parts[:at]), "labels")
    for part in parts[at + 1 :]:
        place = named(place, part)
    return [place, photos]
