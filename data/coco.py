"""Reader of COCO's json files: the original folders, Roboflow's exports, a single file."""

from __future__ import annotations

import functools
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.annotation import FRACTIONS, REPEATED, UNUSED, Annotation, Objects, number
from data.build import build
from data.files import folder_of, ids_of
from data.folders import named
from data.records import Dataset, FileId
from data.text import read_text
from data.units import Unit, check_unit, common_unit, to_pixels

ROBOFLOW = "_annotations.coco.json"


def splits(root: Path) -> dict[str, Path]:
    """Return split name -> json file; empty if there is no COCO data set.

    Looks for `annotations/instances_<split>.json`, `<split>/_annotations.coco.json` and `<split>.json`. A single file
    is the split "all".
    """
    if root.is_file():
        return {"all": root} if root.suffix.lower() == ".json" and _is_coco(root) else {}
    exported = {p.parent.name: p for p in sorted(root.glob(f"*/{ROBOFLOW}"))}
    if exported:
        return exported
    files = [*sorted(named(root, "annotations").glob("*.json")), *sorted(root.glob("*.json"))]
    found = {p.stem.removeprefix("instances_"): p for p in files if _is_coco(p)}
    return {"all": next(iter(found.values()))} if len(found) == 1 else found


def load(
    root: Path, split: str, *, classes: Sequence[str] | None = None, skip_bad: bool = False, name: str | None = None
) -> Dataset:
    """Read one split.

    Boxes (x, y, width, height) become 0-based inclusive corners, x2 = x + width - 1; they are fractions of the image if
    most of the file's can be nothing else. Crowds (iscrowd) become difficult objects. Labels are in the order of the
    category ids. The records and classes keep the ids that the file gives them. An image that is listed under several
    ids has the objects of all of them, and the first id.

    Args:
        root: folder or file, as for `splits`.
        split: name of the split.
        classes: class names in label order; None: all categories of the file.
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.
        name: name of the data set and split, for messages.

    Raises:
        OSError, ValueError: the file is damaged, or refers to an image file or category that does not exist; or one
            box is in pixels and others are in fractions.
    """
    path = splits(root)[split]
    content = _read(path)
    categories = {_category(c["id"]): str(c["name"]) for c in content["categories"]}
    objects: dict[FileId, list[dict[str, Any]]] = {i["id"]: [] for i in content["images"]}
    unused: list[str] = []
    for a in content["annotations"]:
        if a["image_id"] in objects:
            objects[a["image_id"]].append(a)
        else:
            unused.append(f"{path}: annotation {a.get('id')} of image {a['image_id']!r}")
    folder = _image_folder(
        root if root.is_dir() else path.parent, path, split, [i["file_name"] for i in content["images"]]
    )
    images: dict[Path, list[dict[str, Any]]] = defaultdict(list)
    for i in content["images"]:
        images[folder / os.path.normpath(i["file_name"])].append(i)
    unit = common_unit(_numbers(a["bbox"]) for a in content["annotations"])
    readers = {
        image_id: functools.partial(_read_one, path, file, images[file], objects, categories, unit)
        for image_id, file in ids_of(images).items()
    }
    order = sorted(categories, key=lambda i: (isinstance(i, str), i))
    names = [categories[i] for i in order] if classes is None else classes
    dataset = build(name or f"{root.name} {split}", readers, names, skip_bad, notes={UNUSED: unused})
    return _with_file_ids(dataset, content, folder)


def _is_coco(path: Path) -> bool:
    """Whether a json file holds a detection data set."""
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError):
        return path.name == ROBOFLOW or path.name.startswith("instances_")  # damaged: reported when it is read
    lists = isinstance(content, dict) and all(isinstance(content.get(k), list) for k in ("images", "annotations"))
    return lists and isinstance(content.get("categories"), list)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(read_text(path))
        if not all({"id", "file_name"} <= i.keys() for i in content["images"]):
            raise ValueError("an image without id or file_name")
        if not all({"image_id", "bbox", "category_id"} <= a.keys() for a in content["annotations"]):
            raise ValueError("an annotation without image_id, bbox or category_id")
        if not all({"id", "name"} <= c.keys() for c in content["categories"]):
            raise ValueError("a category without id or name")
        _check_ids(content["images"], "file_name")
        _check_ids(content["categories"], "name")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a detection data set in COCO format ({error})") from None
    return content


def _check_ids(entries: Sequence[dict[str, Any]], key: str) -> None:
    """Raise ValueError if entries of different names have the same id."""
    names: dict[Any, str] = {}
    for entry in entries:
        first = names.setdefault(entry["id"], entry[key])
        if os.path.normpath(first) != os.path.normpath(entry[key]):
            raise ValueError(f"{first} and {entry[key]} have the same id, {entry['id']!r}")


def _image_folder(root: Path, path: Path, split: str, files: Sequence[str]) -> Path:
    """Find the folder that holds the images of a json file."""
    images, own = named(root, "images"), path.stem.removeprefix("instances_")
    of_split = [named(folder, name) for name in (split, own) for folder in (root, images)]
    if not files:
        raise ValueError(f"{path}: lists no images")
    return folder_of(files, [path.parent, *of_split, images, named(root, "JPEGImages"), root], path)


def _numbers(box: Any) -> list[float]:
    """Return the numbers of a box, or none if it has other values."""
    whole = isinstance(box, list) and all(isinstance(v, int | float) for v in box)
    return box if whole else []


def _read_one(
    path: Path,
    file: Path,
    listed: Sequence[dict[str, Any]],
    objects: Mapping[FileId, Sequence[dict[str, Any]]],
    categories: Mapping[FileId, str],
    unit: Unit,
) -> tuple[Path, Annotation]:
    """Read an image that is listed once, or several times under different ids."""
    where = f"{path}: image {listed[0]['file_name']}"
    if not file.is_file():
        raise FileNotFoundError(f"image is missing: {file}")
    sizes = [tuple(int(number(i.get(side), f"{where}: {side}")) for side in ("height", "width")) for i in listed]
    if len(set(sizes)) > 1:
        raise ValueError(f"{where}: is listed {len(listed)} times, with sizes {sizes[0]} and {sizes[-1]}; correct one")
    size = (sizes[0][0], sizes[0][1])
    collected = Objects(path, size)
    if len(listed) > 1:
        collected.note(REPEATED, f"ids {', '.join(str(i['id']) for i in listed)}")
    for a in _different([objects[image_id] for image_id in dict.fromkeys(i["id"] for i in listed)]):
        category = _category(a["category_id"])
        if category not in categories:
            raise ValueError(f"{where}: an object has category {a['category_id']!r}, which the file does not define")
        if not isinstance(a["bbox"], list) or len(a["bbox"]) != 4:
            raise ValueError(f"{where}: bbox is {a['bbox']!r}, expected x, y, width, height")
        name, written = categories[category], [number(v, f"{where}: a value of bbox") for v in a["bbox"]]
        check_unit(written, unit, f"{where}: annotation {a.get('id')} ({name}) {written}")
        x, y, w, h = written
        if unit is Unit.FRACTIONS:
            collected.note(FRACTIONS, f"annotation {a.get('id')} ({name})")
        box = to_pixels((x, y, x + w, y + h), size) if unit is Unit.FRACTIONS else (x, y, x + w - 1, y + h - 1)
        crowd = collected.flag(a.get("iscrowd"), "iscrowd") or collected.flag(a.get("difficult"), "difficult")
        collected.add(name, box, written, crowd)
    return file, collected.annotation()


def _different(lists: Sequence[Sequence[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield the objects of several lists for one image; those that an earlier list has too come once."""
    seen: set[str] = set()
    for objects in lists:
        keys = [f"{a['category_id']} {a['bbox']}" for a in objects]
        yield from (a for a, key in zip(objects, keys, strict=True) if key not in seen)
        seen.update(keys)


def _category(written: Any) -> FileId:
    """A category id that is the same however it is written: 7, 7.0 and "7" are 7, "cat" is text."""
    try:
        return int(written)
    except (TypeError, ValueError, OverflowError):
        return str(written)


def _with_file_ids(dataset: Dataset, content: dict[str, Any], folder: Path) -> Dataset:
    """The data set with the ids that its file gives to images and classes.

    An image that the file lists twice has its first id, and a name that two categories share the id that objects have.
    """
    listed = reversed(content["images"])
    images: dict[str, FileId] = {os.path.normpath(folder / i["file_name"]): i["id"] for i in listed}
    used = {_category(a["category_id"]) for a in content["annotations"]}
    categories = sorted(content["categories"], key=lambda c: _category(c["id"]) in used)
    ids: dict[str, FileId] = {str(c["name"]): c["id"] for c in categories}
    records = tuple(replace(record, file_id=images.get(os.path.normpath(record.path))) for record in dataset)
    return replace(dataset, records=records, category_ids=tuple(ids.get(name) for name in dataset.classes))
