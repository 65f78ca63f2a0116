"""Reader of LabelMe's json files, one per photo, also as X-AnyLabeling writes them."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.annotation import Annotation, Objects
from data.files import image_size
from data.folders import files_below
from data.json_files import DAMAGED, LABELME, class_name, expect, format_of, load_json
from data.label_files import split_in
from data.photo_index import PhotoIndex, path_parts
from data.records import Dataset
from data.shapes import NO_BOXES, Point, add_shape, edges_of, ellipse, points_of
from data.tool_labels import PhotoLabels, SplitLabels, build_labelled, stated_size

OTHER_FILES = "json files that are not LabelMe's, left out"
OUTSIDE = "label files outside of the folders of the splits, left out"
"""Kinds of remarks; see `Annotation.notes`."""

_MASK, _CIRCLE = "mask", "circle"
_SHAPES = ("rectangle", "polygon", "oriented_rectangle", "rotation", "quadrilateral", _MASK, _CIRCLE)


def splits(root: Path, images: Path | None = None) -> dict[str, list[Path]]:
    """Return split name -> label files; empty if there is no LabelMe file.

    Looks in a folder and its subfolders. Subfolders that are called like splits (train, val, test) are splits, also
    within others, as in labels/train; without such folders, all files are the split "all". A single file is, too.
    """
    kinds = {path: format_of(path) for path in _json_files(root)}
    if LABELME not in kinds.values():
        return {}
    found: dict[str, list[Path]] = defaultdict(list)
    for path, kind in kinds.items():
        if kind in (LABELME, DAMAGED):  # damaged files are reported when they are read
            found[_split_of(path, root)].append(path)
    if len(found) > 1:
        found.pop("", None)
    return {split or "all": paths for split, paths in found.items()}


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

    A rectangle is given by opposite corners in any order. Polygons, and circles given by their centre and a point on
    the rim, become the box around them. Points, lines and unknown shapes are left out with a remark, and so are photos
    without a label file. Coordinates are continuous: the edges x0, y0, x1, y1 of a shape become 0-based inclusive
    corners, x1 - 1 and y1 - 1. The corners of masks are pixels already.

    Args:
        root: folder or file, as for `splits`.
        split: name of the split.
        classes: class names in label order; None: the names that occur, sorted.
        skip_bad: skip photos that cannot be used and list them in `Dataset.bad`, instead of raising.
        name: name of the data set and split, for messages.
        images: folder of the photos; None: in the data set.

    Raises:
        OSError, ValueError: a file is damaged, or its photo is missing.
    """
    index, files = PhotoIndex(root, images), splits(root)
    labels = [_labels_of(path, index.beside(path)) for path in files[split]]
    photos = [path for path in index.photos if split == "all" or _split_of(path, index.root) == split]
    notes = _left_out(root, {path for paths in files.values() for path in paths})
    has_all = root.is_dir()  # beside a single file there may be photos with others
    of_split = SplitLabels(name or f"{root.stem} {split}", split, labels, photos if has_all else (), notes)
    return build_labelled(of_split, index, classes, skip_bad)


def _json_files(root: Path) -> list[Path]:
    files = files_below(root) if root.is_dir() else [root]
    return [path for path in files if path.suffix.lower() == ".json"]


def _split_of(path: Path, root: Path) -> str:
    """The split that a file belongs to by its folders; "": none."""
    return "" if path == root else split_in(path.relative_to(root).parts[:-1])


def _left_out(root: Path, read: set[Path]) -> dict[str, list[str]]:
    """Remarks on the json files that no split has."""
    rest = {path: format_of(path) for path in _json_files(root) if path not in read}
    return {
        OTHER_FILES: [str(path) for path, kind in rest.items() if kind != LABELME],
        OUTSIDE: [str(path) for path, kind in rest.items() if kind == LABELME],
    }


def _labels_of(path: Path, beside: Path | None) -> PhotoLabels:
    """The labels of a file; its photo is the one that it names, or else the one beside it."""
    try:
        content = expect(load_json(path), dict, f"{path}: the content")
    except (OSError, ValueError) as error:
        return PhotoLabels(path, (path.stem,), functools.partial(_raise, str(error)), missing=str(error))
    photo = content.get("imagePath")
    names = [photo] if isinstance(photo, str) and path_parts(photo) else []
    names += [beside.name] if beside else []
    missing = ""
    if content.pop("imageData", None):  # the photo itself, which is large
        missing = f"{path}: the photo {photo} is missing, but is embedded in this file; export it to a file beside it"
    return PhotoLabels(path, tuple(names) or (path.stem,), functools.partial(_read_one, path, content), missing=missing)


def _raise(message: str, photo: Path) -> Annotation:
    raise ValueError(message)


def _read_one(path: Path, content: dict[str, Any], photo: Path) -> Annotation:
    size = stated_size(content.get("imageHeight"), content.get("imageWidth"), str(path))
    objects = Objects(path, size or image_size(photo))
    for count, value in enumerate(expect(content["shapes"], list, f"{path}: shapes"), 1):
        shape = expect(value, dict, f"{path}: shape {count}")
        name = class_name(shape.get("label"), f"{path}: shape {count}")
        kind, where = shape.get("shape_type") or "polygon", f"{path}: shape {count} ({name})"
        if kind in _SHAPES:
            edges = _edges(kind, points_of(shape.get("points"), f"{where}: points"), where)
            add_shape(objects, name, edges, objects.flag(_difficult(shape), "difficult"))
        else:
            objects.note(NO_BOXES, f"shape {count} ({name}): {kind}")
    return objects.annotation()


def _difficult(shape: dict[str, Any]) -> Any:
    """The flag of X-AnyLabeling, or a flag of this name that the user of LabelMe has defined."""
    flags = shape.get("flags")
    return shape.get("difficult") or (flags.get("difficult") if isinstance(flags, dict) else None) or False


def _edges(kind: str, points: list[Point], where: str) -> list[float]:
    if kind == _CIRCLE:
        if len(points) != 2:
            raise ValueError(f"{where}: a circle of {len(points)} points, expected its centre and a point on the rim")
        radius = math.dist(*points)
        return ellipse(points[0], (radius, radius))
    x0, y0, x1, y1 = edges_of(points)
    return [x0, y0, x1 + 1, y1 + 1] if kind == _MASK else [x0, y0, x1, y1]
