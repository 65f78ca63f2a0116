"""COCO's json files: what they must hold, and their ids, however they are written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import coco_masks
from data.json_files import COCO, DAMAGED, OTHER, class_name, expect, format_of, load_json, shown
from data.records import FileId
from data.split_names import kind_of

ROBOFLOW = "_annotations.coco.json"
PREFIX = "instances_"

MERGED = "categories of one name, taken as one class"
GROUPS = "categories without objects that only group others, left out"
"""Kinds of remarks; see `data.annotation.Annotation.notes`."""

Entry = dict[str, Any]

_REQUIRED = {
    "images": {"id", "file_name"},
    "annotations": {"image_id", "category_id"},
    "categories": {"id", "name"},
}
"""List in a file -> what each of its entries has to have."""

_REMEDY = "export it again; or, if it is no list of labelled photos, move or rename it"


def is_coco(path: Path) -> bool:
    """Whether a json file holds a detection data set, or is called like one and damaged, which is reported later."""
    found = format_of(path)
    return found == COCO or (found == DAMAGED and (path.name == ROBOFLOW or path.name.startswith(PREFIX)))


def is_called_split(path: Path) -> bool:
    """Whether a json file of no known format is called like a split of COCO: beside others, it is reported when read.

    It may be cut off, or have lost one of its lists.
    """
    named = path.name.startswith(PREFIX) or kind_of(path.stem) is not None
    return named and format_of(path) in (DAMAGED, OTHER)


def read(path: Path) -> dict[str, list[Entry]]:
    """Read "images", "annotations" and "categories" of a file; annotations without a box get that of their mask, or
    None.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not json; a list, a name or an id is missing; or an id has two meanings.
    """
    stored = load_json(path)
    try:
        content = _checked(stored)
    except ValueError as error:
        raise ValueError(f"{path}: not a detection data set in COCO format ({error}); {_REMEDY}") from None
    if not content["images"]:
        raise ValueError(f"{path}: lists no images")
    for annotation in content["annotations"]:
        annotation["bbox"] = annotation.get("bbox") or coco_masks.box_of(annotation.get("segmentation"))
    return content


def _checked(content: Any) -> dict[str, list[Entry]]:
    """Return the content of a file with the lists, names and ids that are needed.

    Raises:
        ValueError: one is missing or of another type, or an id has two meanings.
    """
    whole = expect(content, dict, "the content")
    for name, required in _REQUIRED.items():
        if name not in whole:
            raise ValueError(f"it has no list {name}")
        for entry in expect(whole[name], list, name):
            if not required <= expect(entry, dict, f"one of {name}").keys():
                raise ValueError(f"one of {name} is without {' or '.join(sorted(required, reverse=True))}")
    for name, key in (("images", "file_name"), ("categories", "name")):
        for entry in whole[name]:
            if not isinstance(entry["id"], int | float | str):
                raise ValueError(f"an id in {name} is {shown(entry['id'])}, expected a number or text")
            if name == "categories":
                entry[key] = class_name(entry[key], f"category {entry['id']!r}")
        _check_ids(whole[name], key)
    return whole


def _check_ids(entries: Sequence[Entry], key: str) -> None:
    """Raise ValueError if entries of different names have the same id."""
    names: dict[Any, str] = {}
    for entry in entries:
        first = names.setdefault(entry["id"], expect(entry[key], str, key))
        if os.path.normpath(first) != os.path.normpath(entry[key]):
            raise ValueError(f"{first} and {entry[key]} have the same id, {entry['id']!r}")


class Ids:
    """Finds ids however they are written: 7, 7.0 and "7" are the same, unless a file distinguishes them.

    Args:
        known: the ids as their own list writes them.
    """

    def __init__(self, known: Iterable[FileId]) -> None:
        self._known = dict.fromkeys(known)
        self._alike: dict[FileId, list[FileId]] = {}
        for one in self._known:
            self._alike.setdefault(number_of(one), []).append(one)

    def of(self, written: Any) -> FileId | None:
        """Return the id as its own list writes it; None: there is no such id, or several are alike."""
        if isinstance(written, list | dict):
            return None
        alike = [written] if written in self._known else self._alike.get(number_of(written), [])
        return alike[0] if len(alike) == 1 else None


def number_of(written: Any) -> FileId:
    """Return an id that is the same however it is written: 7, 7.0 and "7" are 7, "cat" is text."""
    try:
        return int(written)
    except (TypeError, ValueError, OverflowError):
        return str(written)


@dataclass(frozen=True)
class Categories:
    """The classes of a file.

    Attributes:
        names: category id -> class name, of all categories.
        classes: class names in the order of their ids, each once.
        ids: class name -> id; where several categories have the name, one that objects have.
        notes: kind -> remarks.
    """

    names: Mapping[FileId, str]
    classes: tuple[str, ...]
    ids: Mapping[str, FileId]
    notes: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, categories: Sequence[Entry], used: Set[FileId | None]) -> Categories:
        """Read the categories of a file.

        Args:
            categories: as the file lists them.
            used: ids that objects have.
        """
        listed = sorted(categories, key=lambda c: (isinstance(number_of(c["id"]), str), number_of(c["id"])))
        names: dict[FileId, str] = {c["id"]: str(c["name"]) for c in listed}
        of_name: dict[str, list[FileId]] = {}
        for category, name in names.items():
            of_name.setdefault(name, []).append(category)
        parents = [(str(c.get("supercategory")).strip(), c["name"]) for c in listed]
        above = {parent for parent, name in parents if parent != name}
        groups = [name for name, ids in of_name.items() if name in above and used.isdisjoint(ids)]
        merged = {name: ids for name, ids in of_name.items() if len(ids) > 1}
        return cls(
            names,
            tuple(name for name in of_name if name not in groups),
            {name: max(ids, key=used.__contains__) for name, ids in of_name.items()},
            {
                MERGED: [f"{name}: ids {', '.join(map(str, ids))}" for name, ids in merged.items()],
                GROUPS: [f"{name}: id {of_name[name][0]}" for name in groups],
            },
        )
