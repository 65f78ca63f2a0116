"""What YOLO data sets say about themselves: data.yaml and lists of class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data.files import images_in
from data.folders import files_in, folders_in
from data.text import read_text

YAML = (".yaml", ".yml")
CLASS_LISTS = ("classes.txt", "predefined_classes.txt", "obj.names", "_darknet.labels")
"""Names of files with one class name per line, as labelImg, CVAT and Roboflow call them."""


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
        found = [config for p in files_in(root, YAML) if (config := cls._if_named(p))]
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
