"""Reader of CVAT's XML files, "CVAT for images 1.1"."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring, iterparse

from data.annotation import Annotation, Objects, number
from data.files import image_size
from data.json_files import class_name
from data.label_files import one_file_per_split
from data.photo_index import PhotoIndex, path_parts
from data.records import Dataset
from data.shapes import NO_BOXES, add_shape, edges_of, ellipse, turned_rectangle
from data.tool_labels import PhotoLabels, SplitLabels, build_labelled, stated_size

_FIRST = ("version", "meta", "image", "track")  # elements that a file may begin with
_NO_SHAPES = ("tag", "attribute")  # what is said of a photo as a whole
_NUMBERS = {
    "box": ("xtl", "ytl", "xbr", "ybr"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "mask": ("left", "top", "width", "height"),
}
"""Element -> attributes that say where a shape is."""


def splits(root: Path, images: Path | None = None) -> dict[str, Path]:
    """Return split name -> XML file; empty if there is none of CVAT.

    The subsets of a single file are splits, see also `one_file_per_split`. Images without one are in "default".
    """
    found = one_file_per_split(root, ".xml", _is_cvat, "CVAT")
    return dict.fromkeys(_subsets_of(found["all"]), found["all"]) if found.keys() == {"all"} else found


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

    Boxes and ellipses, which may be rotated, polygons and masks become the boxes around them; other shapes are left out
    with a remark. An image without shapes has no objects. An attribute "difficult" marks difficult objects. Coordinates
    are continuous: the edges x0, y0, x1, y1 of a shape become 0-based inclusive corners, x1 - 1 and y1 - 1.

    Args:
        root: folder or file, as for `splits`.
        split: name of the split.
        classes: class names in label order; None: the names that occur, sorted.
        skip_bad: skip photos that cannot be used and list them in `Dataset.bad`, instead of raising.
        name: name of the data set and split, for messages.
        images: folder of the photos; None: in the data set.

    Raises:
        OSError, ValueError: the file is damaged or about a video, or a photo is missing.
    """
    files = splits(root)
    path = files[split]
    by_subset = list(files.values()).count(path) > 1
    labels = [_labels_of(path, image) for image in _images(path) if not by_subset or _subset(image) == split]
    if not labels:
        raise ValueError(f"{path}: lists no images")
    index = PhotoIndex(root, images)
    return build_labelled(SplitLabels(name or f"{root.stem} {split}", split, labels), index, classes, skip_bad)


def _is_cvat(path: Path) -> bool:
    """Whether an XML file begins like those of CVAT."""
    try:
        with path.open("rb") as file:
            tags = [element.tag for _, element in islice(iterparse(file, ("start",)), 2)]
    except (OSError, ValueError, LookupError, ParseError, DefusedXmlException):
        return False
    return len(tags) == 2 and tags[0] == "annotations" and tags[1] in _FIRST


def _subsets_of(path: Path) -> tuple[str, ...]:
    """The subsets of a file's images; "all" if it has none."""
    status = path.stat()
    return _subsets(os.path.abspath(path), status.st_mtime_ns, status.st_size)


@lru_cache(64)
def _subsets(path: str, _changed: int, _size: int) -> tuple[str, ...]:
    images = _images(Path(path))
    return tuple(sorted(set(map(_subset, images)))) if any(image.get("subset") for image in images) else ("all",)


def _subset(image: Element) -> str:
    return image.get("subset") or "default"


def _images(path: Path) -> list[Element]:
    try:
        root = fromstring(path.read_bytes())
    except (ParseError, DefusedXmlException, LookupError, ValueError) as error:
        raise ValueError(f"{path}: not a readable annotation ({' '.join(str(error).split())})") from None
    if root.find("track") is not None:
        raise ValueError(f"{path}: has the tracks of a video; export it as CVAT for images 1.1")
    return list(root.findall("image"))


def _labels_of(path: Path, image: Element) -> PhotoLabels:
    name, read = image.get("name") or "", functools.partial(_read_one, path, image)
    if path_parts(name):
        return PhotoLabels(path, (name,), read)
    what = f"image {image.get('id')}"
    return PhotoLabels(path, (what,), read, missing=f"{path}: {what} has no name")


def _read_one(path: Path, image: Element, photo: Path) -> Annotation:
    where = f"{path}: image {image.get('name')}"
    objects = Objects(path, stated_size(image.get("height"), image.get("width"), where) or image_size(photo))
    shapes = [element for element in image if element.tag not in _NO_SHAPES]
    for count, shape in enumerate(shapes, 1):
        name = class_name(shape.get("label"), f"{where}: {shape.tag} {count}")
        edges = _edges(shape, f"{where}: {shape.tag} {count} ({name})")
        if edges is None:
            objects.note(NO_BOXES, f"shape {count} ({name}): {shape.tag}")
        else:
            flags = [a.text or "" for a in shape.findall("attribute") if (a.get("name") or "").lower() == "difficult"]
            add_shape(objects, name, edges, objects.flag(flags[0] if flags else "", "difficult"))
    return objects.annotation()


def _edges(shape: Element, where: str) -> list[float] | None:
    """The edges of a shape in continuous pixels; None: it is no box, ellipse, polygon or mask."""
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";")]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"{where}: points is {shape.get('points')!r}, expected x,y;x,y")
        return edges_of((number(x, f"{where}: x"), number(y, f"{where}: y")) for x, y in pairs)
    if shape.tag not in _NUMBERS:
        return None
    a, b, c, d = (number(shape.get(key), f"{where}: {key}") for key in _NUMBERS[shape.tag])
    turned = number(shape.get("rotation") or 0, f"{where}: rotation")
    if shape.tag == "ellipse":
        return ellipse((a, b), (c, d), turned)
    if shape.tag == "mask":
        return [a, b, a + c, b + d]
    return turned_rectangle([a, b, c, d], turned, ((a + c) / 2, (b + d) / 2))
