"""What YOLO data sets say about themselves in data.yaml: splits, class names, keypoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from data.files import HINT, images_in
from data.folders import files_in
from data.json_files import class_name, expect, shown
from data.photo_index import path_parts
from data.photo_search import PhotoSearch
from data.split_names import KINDS, kind_of
from data.text import read_text
from data.yaml_files import load_yaml

YAML = (".yaml", ".yml")


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
        """Folder that the paths of photos start from.

        Raises:
            ValueError: path is no text.
        """
        told = expect(self.values.get("path") or "", str, f"{self.path}: path")
        folder = self.path.parent
        return folder / told if told and (folder / told).is_dir() else folder

    @property
    def names(self) -> dict[int, str]:
        """Class number -> name.

        Raises:
            ValueError: the names are neither a list nor numbered, a number stands twice, or a name is empty or none.
        """
        names = self.values["names"]
        numbered = dict(enumerate(names)) if isinstance(names, list) else names
        if not isinstance(numbered, dict):
            raise ValueError(f"{self.path}: names is {shown(names)}, expected a list or numbers with names")
        found: dict[int, str] = {}
        for key, name in numbered.items():
            number = self._number(key)
            if number in found:
                raise ValueError(f"{self.path}: names: {number} stands twice, as a number and as text; delete one")
            found[number] = class_name(name, f"{self.path}: names: {number}")
        return dict(sorted(found.items()))

    def _number(self, key: Any) -> int:
        """Return the number of a class, which may be text."""
        if type(key) is int and key >= 0:
            return key
        if isinstance(key, str) and re.fullmatch(r"[0-9]{1,9}", key.strip()):
            return int(key)
        what = f"{self.path}: names is {shown(self.values['names'])}, expected a list or numbers with names"
        raise ValueError(f"{what}; {shown(key)} is no number of a class")

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

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that the file states.

        A test split that does not exist is left out if there is a val split: Roboflow states all three in any case.
        """
        stated = self._places
        other = [split for split in stated if kind_of(split) == "val"]
        gone = [s for s, places in stated.items() if other and kind_of(s) == "test" and not any(places.values())]
        return tuple(split for split in stated if split not in gone)

    def images(self, split: str) -> tuple[list[Path], list[str]]:
        """Return the images of a split, as listed: in folders, or in files with one path per line.

        Returns:
            the images, and remarks on folders, lists and images that are not where the file says.

        Raises:
            FileNotFoundError: there is no such folder or file.
            ValueError: another path, of another split, would lead to the same folder or file.
        """
        found: list[Path] = []
        moved: list[str] = []
        for stated, place in self._places[split].items():
            if place is None:
                raise FileNotFoundError(f"{self.path}: no such folder or list: {self.base / stated}; {HINT}")
            if place not in self._as_written(stated):
                self._check_own(split, stated, place)
                moved.append(f"{split} {stated}: {place}")
            if place.is_dir():
                found += images_in(place)
            else:
                lines = [line.strip() for line in read_text(place).split("\n")]
                listed, remarks = PhotoSearch([self.base, place.parent], self.base, place).find(filter(None, lines))
                found += [listed[line] for line in lines if line]
                moved += remarks
        return found, moved

    @cached_property
    def _places(self) -> dict[str, dict[str, Path | None]]:
        """Split name -> folder or list as stated -> where it is, None if it is nowhere."""
        named = [key for key in self.values if str(key).isalnum() and self.values[key]]  # not train_labels
        known = [key for kind in KINDS for key in named if kind_of(str(key)) == kind]
        told = {key: self.values[key] if isinstance(self.values[key], list) else [self.values[key]] for key in known}
        return {str(key): {str(one): self._place(str(one)) for one in places} for key, places in told.items()}

    def _as_written(self, stated: str) -> list[Path]:
        # Roboflow writes ../train/images for a folder beside data.yaml
        return [self.base / stated, self.base / stated.removeprefix("../")]

    def _place(self, stated: str) -> Path | None:
        """Find a folder or list as written, or by the end of its path if that is from another machine."""
        parts, bases = path_parts(stated), (self.base, self.path.parent)
        ends = [base.joinpath(*parts[start:]) for start in range(len(parts)) for base in bases]
        return next((place for place in (*self._as_written(stated), *ends) if place.exists()), None)

    def _check_own(self, split: str, stated: str, place: Path) -> None:
        """Raise ValueError if another path of another split leads to the same place."""
        for other, places in self._places.items():
            if other != split and place in [at for path, at in places.items() if path != stated]:
                raise ValueError(f"{self.path}: {split} ({stated}) and {other} would both be {place}; correct it")


def _read_yaml(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        values = load_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return values if isinstance(values, dict) else {}
