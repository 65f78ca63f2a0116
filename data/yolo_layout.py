"""Where YOLO data sets keep their photos, labels and class names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data.files import IMAGE_SUFFIXES, images_in
from data.folders import files_below, folders_in, named
from data.text import read_text

YAML = (".yaml", ".yml")
CLASS_LISTS = ("classes.txt", "predefined_classes.txt", "obj.names", "_darknet.labels")
"""Names of files with one class name per line, as labelImg, CVAT and Roboflow call them."""

_LISTS = frozenset({*CLASS_LISTS, *(f"{name}.txt" for name in ("train", "val", "valid", "test", "default", "all"))})
_SPLITS = frozenset({"train", "training", "trainval", "val", "valid", "validation", "test", "testing", "dev"})


@dataclass(frozen=True)
class Config:
    """Content of a data.yaml.

    Attributes:
        path: the file.
        values: key -> value.
    """

    path: Path
    values: Mapping[str, Any]

    @classmethod
    def of(cls, root: Path) -> Config | None:
        """Read data.yaml, or the only other YAML file of the folder that names classes.

        Args:
            root: folder, or such a file itself.

        Raises:
            ValueError: the file is damaged or names no classes, or several files could be meant.
        """
        usual = [root] if root.suffix.lower() in YAML else [root / f"data{suffix}" for suffix in YAML]
        path = next((p for p in usual if p.is_file()), None)
        if path is not None:
            values = _read_yaml(path)
            if "names" not in values:
                raise ValueError(f"{path}: not a YOLO data set; expected names, train and val")
            return cls(path, values)
        found = [config for p in _files(root, YAML) if (config := cls._if_named(p))]
        if len(found) > 1:
            both = " and ".join(str(config.path) for config in found[:2])
            raise ValueError(f"{both} name classes; give the path of one of them, or call it data.yaml")
        return found[0] if found else None

    @classmethod
    def _if_named(cls, path: Path) -> Config | None:
        try:
            values = _read_yaml(path)
        except ValueError:
            return None
        return cls(path, values) if "names" in values else None

    @property
    def base(self) -> Path:
        """Folder that the paths of photos start from."""
        told = self.values.get("path")
        folder = self.path.parent
        return folder / told if isinstance(told, str) and (folder / told).is_dir() else folder

    @property
    def names(self) -> dict[int, str]:
        """Class number -> name.

        Raises:
            ValueError: the names are neither a list nor numbered.
        """
        names = self.values["names"]
        numbered = dict(enumerate(names)) if isinstance(names, list) else names
        try:
            return {int(k): str(numbered[k]) for k in sorted(numbered, key=int)}
        except (TypeError, ValueError):
            raise ValueError(f"{self.path}: names is {names!r}, expected a list or numbers with names") from None

    @property
    def keypoints(self) -> tuple[int, int] | None:
        """Number of keypoints per object and of values per keypoint; None if the labels have no keypoints.

        Raises:
            ValueError: kpt_shape is something else than two such numbers.
        """
        shape = self.values.get("kpt_shape")
        if shape is None:
            return None
        whole = isinstance(shape, list) and len(shape) == 2 and all(type(v) is int for v in shape)
        if not whole or shape[0] < 1 or shape[1] not in (2, 3):
            raise ValueError(f"{self.path}: kpt_shape is {shape!r}, expected [number of keypoints, 2 or 3]")
        return shape[0], shape[1]

    def splits(self) -> dict[str, list[Path]]:
        """Return split name -> images, as listed: folders or files with one path per line.

        Raises:
            FileNotFoundError: there is no such folder or file.
        """
        told = {split: self.values[split] for split in ("train", "val", "test") if self.values.get(split)}
        return {split: self._images(where if isinstance(where, list) else [where]) for split, where in told.items()}

    def _images(self, places: Sequence[Any]) -> list[Path]:
        found: list[Path] = []
        for one in map(str, places):
            # Roboflow writes ../train/images for a folder beside data.yaml
            place = next((p for p in (self.base / one, self.base / one.removeprefix("../")) if p.exists()), None)
            if place is None:
                raise FileNotFoundError(f"{self.path}: no such folder or list: {self.base / one}")
            lines = [] if place.is_dir() else [line.strip() for line in read_text(place).split("\n")]
            found += images_in(place) if place.is_dir() else [self.base / line for line in lines if line]
        return found


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    return values if isinstance(values, dict) else {}


def find_splits(root: Path) -> dict[str, list[Path]]:
    """Return split name -> images of folders without data.yaml; empty if they hold no YOLO data set.

    Looks for `<split>/images` with labels, for `images` with or without one folder per split, and for photos with
    their label files beside them, with or without one folder per split. The images of a data set without splits are
    the split "all".
    """
    pairs = {p.name: named(p, "images") for p in folders_in(root)}
    pairs = {split: p for split, p in pairs.items() if p.is_dir() and (_labels(p).is_dir() or _labelled(p))}
    images = named(root, "images")
    if images.is_dir() and _labels(images).is_dir():
        below = {p.name: p for p in folders_in(images) if named(_labels(images), p.name).is_dir()}
        divided = _SPLITS & set(map(str.lower, below)) or not _files(images, IMAGE_SUFFIXES)
        pairs = below if below and divided else {"all": images}
    elif images.is_dir() and _labelled(images):
        pairs = _by_name(images)
    elif not pairs and _labelled(root):
        pairs = _by_name(root)
    return {split: images_in(folder) for split, folder in pairs.items()}


def _by_name(folder: Path) -> dict[str, Path]:
    """Return the subfolders that are named like splits, or the folder itself as the split "all"."""
    below = {p.name: p for p in folders_in(folder) if p.name.lower() in _SPLITS and _labelled(p)}
    return below or {"all": folder}


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


def _files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Return the files directly in a folder with one of these suffixes, in upper or lower case; sorted."""
    if not folder.is_dir():
        return []
    found = (p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith("."))
    return sorted(p for p in found if p.is_file())


class Labels:
    """Finds the label file of each photo; folders are read once."""

    def __init__(self) -> None:
        self._folders: dict[Path, list[Path]] = {}
        self._texts: dict[Path, dict[str, Path]] = {}

    def of(self, photo: Path) -> Path | None:
        """Return the label file of a photo: in the folder of labels, or else beside the photo; None: it has none."""
        found = (self._in(folder).get(photo.stem) for folder in self._beside(photo.parent))
        return next((path for path in found if path), None)

    def unused(self, photos: Iterable[Path]) -> list[Path]:
        """Return the label files in the folders of these photos' labels that belong to no photo on disk."""
        used: set[Path | None] = set()
        there: set[Path] = set()
        for folder in {photo.parent for photo in photos if photo.parent.is_dir()}:
            used.update(map(self.of, images_in(folder)))
            for place in filter(Path.is_dir, self._beside(folder)):
                texts = [p for p in files_below(place) if p.suffix.lower() == ".txt" and p.name.lower() not in _LISTS]
                there.update(p for p in texts if place != folder or _holds_labels(p))
        return sorted(there - used)

    def _beside(self, folder: Path) -> list[Path]:
        if folder not in self._folders:
            self._folders[folder] = label_folders(folder)
        return self._folders[folder]

    def _in(self, folder: Path) -> dict[str, Path]:
        if folder not in self._texts:
            self._texts[folder] = {p.stem: p for p in _files(folder, (".txt",)) if p.name not in CLASS_LISTS}
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


@dataclass(frozen=True)
class ClassNames:
    """Names of the classes, for all photos or by folder, as labelImg writes them.

    Attributes:
        lists: folder -> class number -> name.
    """

    lists: Mapping[Path, Mapping[int, str]]

    @classmethod
    def of(cls, root: Path, config: Config | None) -> ClassNames:
        """Read the names of data.yaml, or the lists in a folder and two levels below it.

        Raises:
            ValueError: a file is damaged.
        """
        if config is not None:
            return cls({config.path.parent: config.names})
        below = folders_in(root)
        places = [root, *below, *(folder for place in below for folder in folders_in(place))]
        found = {place: next((p for p in map(place.joinpath, CLASS_LISTS) if p.is_file()), None) for place in places}
        return cls({place: _numbered(path) for place, path in found.items() if path})

    @property
    def all(self) -> tuple[str, ...]:
        """Every name once; empty if classes have only numbers."""
        return tuple(dict.fromkeys(name for names in self.lists.values() for name in names.values()))

    def of_photo(self, photo: Path, label: Path) -> Mapping[int, str]:
        """Return class number -> name, from the list nearest to a photo or its label file; empty: there is no list.

        Raises:
            ValueError: the only lists are those of other folders, and differ.
        """
        near = [folder for folder in (*photo.parents, *label.parents) if folder in self.lists]
        if near:
            return self.lists[max(near, key=lambda folder: len(folder.parts))]
        different = list({tuple(names.items()): names for names in self.lists.values()}.values())
        if len(different) > 1:
            folders = " and ".join(map(str, list(self.lists)[:2]))
            raise ValueError(f"{label}: no class names; the lists in {folders} differ, so add one beside the labels")
        return different[0] if different else {}


def _numbered(path: Path) -> dict[int, str]:
    return dict(enumerate(line.strip() for line in read_text(path).splitlines() if line.strip()))
