"""Reader of COCO's json files: the original folders, Roboflow's exports, a single file."""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.annotation import FRACTIONS, REPEATED, UNUSED, Annotation, Objects, number
from data.build import build
from data.coco_file import PREFIX, ROBOFLOW, Categories, Entry, Ids, is_called_split, is_coco, read
from data.files import HINT, ids_of, image_size
from data.folders import named
from data.photo_search import MOVED, PhotoSearch
from data.records import Dataset, FileId
from data.units import Unit, check_unit, common_unit, to_pixels


def splits(root: Path, images: Path | None = None) -> dict[str, Path]:
    """Return split name -> json file; empty if there is no COCO data set.

    Looks for `annotations/instances_<split>.json`, `<split>/_annotations.coco.json` and `<split>.json`. A single file
    is the split "all". A file of no known format that is called like a split counts as well, beside others: reading it
    says what it lacks.
    """
    if root.is_file():
        return {"all": root} if root.suffix.lower() == ".json" and is_coco(root) else {}
    exported = {p.parent.name: p for p in sorted(root.glob(f"*/{ROBOFLOW}"))}
    if exported:
        return exported
    files = [*sorted(named(root, "annotations").glob("*.json")), *sorted(root.glob("*.json"))]
    listed = [p for p in files if is_coco(p) or is_called_split(p)] if any(map(is_coco, files)) else []
    found = {p.stem.removeprefix(PREFIX): p for p in listed}
    return {"all": next(iter(found.values()))} if len(found) == 1 else found


def load(
    root: Path,
    split: str,
    *,
    classes: Sequence[str] | None = None,
    skip_bad: bool = False,
    name: str | None = None,
    images: Path | None = None,
) -> Dataset:
    """Read one split.

    Boxes (x, y, width, height) become 0-based inclusive corners, x2 = x + width - 1; they are fractions of the image if
    most of the file's can be nothing else. Annotations without a box have that of their mask. Crowds (iscrowd) become
    difficult objects. Labels are in the order of the category ids. The records and classes keep the ids that the file
    gives them. An image that is listed under several ids has the objects of all of them, and the first id.

    Args:
        root: folder or file, as for `splits`.
        split: name of the split.
        classes: class names in label order; None: all categories of the file, without those that only group others.
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.
        name: name of the data set and split, for messages.
        images: folder of the images; None: in the data set.

    Raises:
        OSError, ValueError: the file is damaged, or refers to an image file or category that does not exist; or one
            box is in pixels and others are in fractions; or most annotations are of no image in the file.
    """
    path = splits(root)[split]
    content = read(path)
    objects, unused = _by_image(path, content)
    known = Ids(c["id"] for c in content["categories"])
    categories = Categories.of(content["categories"], {known.of(a["category_id"]) for a in content["annotations"]})
    paths, moved = _search(root, path, split, images).find(i["file_name"] for i in content["images"])
    listed: dict[Path, list[Entry]] = defaultdict(list)
    for i in content["images"]:
        listed[Path(os.path.normpath(paths[i["file_name"]]))].append(i)
    unit = common_unit(_numbers(a["bbox"]) for a in content["annotations"])
    reader = functools.partial(_read_one, path, objects=objects, known=known, names=categories.names, unit=unit)
    readers = {image_id: functools.partial(reader, file, listed[file]) for image_id, file in ids_of(listed).items()}
    notes = {**categories.notes, UNUSED: unused, MOVED: moved}
    names = categories.classes if classes is None else classes
    dataset = build(name or f"{root.name} {split}", readers, names, skip_bad, notes=notes)
    file_ids: dict[Path, FileId] = {file: entries[0]["id"] for file, entries in listed.items()}
    records = tuple(replace(record, file_id=file_ids[record.path]) for record in dataset)
    return replace(dataset, records=records, category_ids=tuple(map(categories.ids.get, dataset.classes)))


def _by_image(path: Path, content: Mapping[str, Sequence[Entry]]) -> tuple[dict[FileId, list[Entry]], list[str]]:
    """Return image id -> its annotations, and remarks on those of images that the file does not list.

    Raises:
        ValueError: most annotations are of such images.
    """
    objects: dict[FileId, list[Entry]] = {i["id"]: [] for i in content["images"]}
    ids, unused = Ids(objects), []
    for a in content["annotations"]:
        if (image := ids.of(a["image_id"])) is not None:
            objects[image].append(a)
        else:
            unused.append(f"annotation {a.get('id')} of image {a['image_id']!r}")
    total = len(content["annotations"])
    if 2 * len(unused) > total:
        told = f"{len(unused)} of {total} annotations are of images that the file does not list"
        raise ValueError(f"{path}: {told}, such as {unused[0]}; correct their image_id")
    return objects, [f"{path}: {remark}" for remark in unused]


def _search(root: Path, path: Path, split: str, images: Path | None) -> PhotoSearch:
    """Return the search for the images of a json file."""
    base = root if root.is_dir() else path.parent.parent if path.parent.name.lower() == "annotations" else path.parent
    within, own = named(base, "images"), path.stem.removeprefix(PREFIX)
    if images is not None:
        return PhotoSearch([images, *(named(images, name) for name in (split, own))], images, path)
    of_split = [named(folder, name) for name in (split, own) for folder in (base, within)]
    return PhotoSearch([path.parent, *of_split, within, named(base, "JPEGImages"), base], base, path)


def _numbers(box: Any) -> list[float]:
    """Return the numbers of a box, or none if it has other values."""
    whole = isinstance(box, list) and all(isinstance(v, int | float) for v in box)
    return box if whole else []


def _read_one(
    path: Path,
    file: Path,
    listed: Sequence[Entry],
    *,
    objects: Mapping[FileId, Sequence[Entry]],
    known: Ids,
    names: Mapping[FileId, str],
    unit: Unit,
) -> tuple[Path, Annotation]:
    """Read an image that is listed once, or several times under different ids."""
    where = f"{path}: image {listed[0]['file_name']}"
    if not file.is_file():
        raise FileNotFoundError(f"image is missing: {file}; {HINT}")
    collected = Objects(path, _size(file, listed, where))
    if len(listed) > 1:
        collected.note(REPEATED, f"ids {', '.join(str(i['id']) for i in listed)}")
    for a in (a for image_id in dict.fromkeys(i["id"] for i in listed) for a in objects[image_id]):
        category = known.of(a["category_id"])
        if category is None:
            raise ValueError(f"{where}: an object has category {a['category_id']!r}, which the file does not define")
        _add(collected, a, names[category], unit, where)
    return file, collected.annotation()


def _size(file: Path, listed: Sequence[Entry], where: str) -> tuple[int, int]:
    """Return (H, W) as the file states it, or else of the photo."""
    stated = [i for i in listed if i.get("height") and i.get("width")]
    sizes = [(_side(i, "height", where), _side(i, "width", where)) for i in stated]
    if len(set(sizes)) > 1:
        raise ValueError(f"{where}: is listed {len(listed)} times, with sizes {sizes[0]} and {sizes[-1]}; correct one")
    return sizes[0] if sizes else image_size(file)


def _side(image: Entry, side: str, where: str) -> int:
    return int(number(image[side], f"{where}: {side}"))


def _add(collected: Objects, a: Entry, name: str, unit: Unit, where: str) -> None:
    """Add the object of an annotation, or drop it if it has no box."""
    if a["bbox"] is None:
        collected.drop(name, (), "has no bbox and no usable mask")
        return
    if not isinstance(a["bbox"], list) or len(a["bbox"]) != 4:
        raise ValueError(f"{where}: bbox is {a['bbox']!r}, expected x, y, width, height")
    written = [number(v, f"{where}: a value of bbox") for v in a["bbox"]]
    check_unit(written, unit, f"{where}: annotation {a.get('id')} ({name}) {written}")
    crowd = collected.flag(a.get("iscrowd"), "iscrowd") or collected.flag(a.get("difficult"), "difficult")
    x, y, w, h = written
    edges = collected.ordered(name, (x, y, x + w, y + h))
    if unit is Unit.FRACTIONS:
        collected.note(FRACTIONS, f"annotation {a.get('id')} ({name})")
        collected.add(name, to_pixels(edges, collected.size), written, crowd)
    else:
        x0, y0, x1, y1 = edges
        collected.add(name, (x0, y0, x1 - 1, y1 - 1), written, crowd)
