"""Reader of COCO's json files: the original folders, Roboflow's exports, a single file."""

from __future__ import annotations

import functools
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.annotation import Annotation, Objects, number
from data.build import build
from data.files import ids_of
from data.records import Dataset, FileId

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
    files = [*sorted(root.glob("annotations/*.json")), *sorted(root.glob("*.json"))]
    found = {p.stem.removeprefix("instances_"): p for p in files if _is_coco(p)}
    return {"all": next(iter(found.values()))} if len(found) == 1 else found


def load(
    root: Path, split: str, *, classes: Sequence[str] | None = None, skip_bad: bool = False, name: str | None = None
) -> Dataset:
    """Read one split.

    Boxes (x, y, width, height) become 0-based inclusive corners, x2 = x + width - 1. Crowds (iscrowd) become difficult
    objects. Labels are in the order of the category ids. The records and classes keep the ids that the file gives them.

    Args:
        root: folder or file, as for `splits`.
        split: name of the split.
        classes: class names in label order; None: all categories of the file.
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.
        name: name of the data set and split, for messages.

    Raises:
        OSError, ValueError: the file is damaged, or refers to an image or category that does not exist.
    """
    path = splits(root)[split]
    content = _read(path)
    categories = {_category(c["id"]): str(c["name"]) for c in content["categories"]}
    objects: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for a in content["annotations"]:
        objects[a["image_id"]].append(a)
    folder = _image_folder(
        root if root.is_dir() else path.parent, path, split, [i["file_name"] for i in content["images"]]
    )
    images = {folder / i["file_name"]: i for i in content["images"]}
    readers = {
        image_id: functools.partial(_read_one, path, file, images[file], objects[images[file]["id"]], categories)
        for image_id, file in ids_of(images).items()
    }
    order = sorted(categories, key=lambda i: (isinstance(i, str), i))
    names = [categories[i] for i in order] if classes is None else classes
    return _with_file_ids(build(name or f"{root.name} {split}", readers, names, skip_bad), content, folder)


def _is_coco(path: Path) -> bool:
    """Whether a json file holds a detection data set."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return path.name == ROBOFLOW or path.name.startswith("instances_")  # damaged: reported when it is read
    lists = isinstance(content, dict) and all(isinstance(content.get(k), list) for k in ("images", "annotations"))
    return lists and isinstance(content.get("categories"), list)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if not all({"id", "file_name"} <= i.keys() for i in content["images"]):
            raise ValueError("an image without id or file_name")
        if not all({"image_id", "bbox", "category_id"} <= a.keys() for a in content["annotations"]):
            raise ValueError("an annotation without image_id, bbox or category_id")
        if not all({"id", "name"} <= c.keys() for c in content["categories"]):
            raise ValueError("a category without id or name")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a detection data set in COCO format ({error})") from None
    return content


def _image_folder(root: Path, path: Path, split: str, files: Sequence[str]) -> Path:
    """Find the folder that holds the images of a json file, by its first image."""
    places = [path.parent, root / split, root / "images" / split, root / "images", root / "JPEGImages", root]
    if not files:
        raise ValueError(f"{path}: lists no images")
    for place in places:
        if (place / files[0]).is_file():
            return place
    looked = ", ".join(dict.fromkeys(str(p) for p in places))
    raise FileNotFoundError(f"image is missing: {files[0]} of {path}; looked in {looked}")


def _read_one(
    path: Path, file: Path, image: dict[str, Any], objects: list[dict[str, Any]], categories: dict[FileId, str]
) -> tuple[Path, Annotation]:
    where = f"{path}: image {image['file_name']}"
    if not file.is_file():
        raise FileNotFoundError(f"image is missing: {file}")
    size = [int(number(image.get(side), f"{where}: {side}")) for side in ("height", "width")]
    collected = Objects(path, (size[0], size[1]))
    for a in objects:
        category = _category(a["category_id"])
        if category not in categories:
            raise ValueError(f"{where}: an object has category {a['category_id']!r}, which the file does not define")
        if not isinstance(a["bbox"], list) or len(a["bbox"]) != 4:
            raise ValueError(f"{where}: bbox is {a['bbox']!r}, expected x, y, width, height")
        x, y, w, h = (number(v, f"{where}: a value of bbox") for v in a["bbox"])
        crowd = bool(a.get("iscrowd")) or bool(a.get("difficult"))
        collected.add(categories[category], (x, y, x + w - 1, y + h - 1), (x, y, w, h), crowd)
    return file, collected.annotation()


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
