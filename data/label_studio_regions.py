"""Regions that Label Studio's users draw on a photo, in percent of its width and height."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.annotation import Annotation, Objects, number
from data.files import image_size
from data.json_files import class_name, expect, shown
from data.shapes import NO_BOXES, add_shape, edges_of, ellipse, points_of, turned_rectangle
from data.tool_labels import stated_size

BARE = ("rectangle", "ellipse", "polygon", "brush", "keypoint")
"""Types of regions that state no class; another region of the same place does."""

_BOXES = {
    "rectanglelabels": "x, y, width, height",
    "ellipselabels": "x, y, radiusX, radiusY",
    "polygonlabels": "points",
}


def read_regions(path: Path, listed: Sequence[Any], where: str, photo: Path) -> Annotation:
    """Read the regions of a task.

    Args:
        path: the export.
        listed: dicts with "value" and perhaps "type", "original_width" and "original_height".
        where: file and task, the start of error messages.
        photo: the photo file, for its size where no region states it.

    Raises:
        OSError, ValueError: a region is damaged or has no class, or the photo cannot be read.
    """
    regions = [expect(region, dict, f"{where}: a region") for region in listed]
    regions = [region for region in regions if isinstance(region.get("value"), dict)]  # others relate regions
    _check_one_photo(regions, where)
    sizes = [stated_size(r.get("original_height"), r.get("original_width"), where) for r in regions]
    objects = Objects(path, next(filter(None, sizes), None) or image_size(photo))
    labelled = {_place(region["value"]) for region in regions if _label_key(region["value"])}
    for count, region in enumerate(regions, 1):
        value, what = region["value"], f"region {count}"
        if _label_key(value):
            _add(objects, value, what, f"{where}: {what}")
        elif region.get("type") in BARE and _place(value) not in labelled:
            raise ValueError(f"{where}: {what} has no class")
    return objects.annotation()


def _check_one_photo(regions: Sequence[dict[str, Any]], where: str) -> None:
    """Raise ValueError if regions are on several photos, or on a photo that was turned in Label Studio."""
    shapes = [region for region in regions if _label_key(region["value"]) or region.get("type") in BARE]
    turned = next((r["image_rotation"] for r in shapes if r.get("image_rotation")), None)
    if turned:
        raise ValueError(f"{where}: the photo was turned by {shown(turned)} degrees; turn it back in Label Studio")
    if len({str(region.get("to_name")) for region in shapes}) > 1 or any(r.get("item_index") for r in shapes):
        raise ValueError(f"{where}: has regions on several photos, expected one photo per task")


def _label_key(value: Mapping[str, Any]) -> str | None:
    """The entry with the classes of a region: rectanglelabels, labels, ..."""
    return next((key for key in value if key.endswith("labels")), None)


def _place(value: Mapping[str, Any]) -> str:
    """Where a region lies, the same for two results about one region."""
    return repr([value.get(key) for key in ("x", "y", "width", "height", "radiusX", "radiusY", "points")])


def _add(objects: Objects, value: dict[str, Any], what: str, where: str) -> None:
    """Add the objects of a region, one per label."""
    key = _label_key(value)
    assert key is not None
    names = [class_name(label, where) for label in expect(value[key], list, f"{where}: {key}") or [None]]
    edges = _edges(value, objects.size, where)
    if edges is None and key in _BOXES:
        raise ValueError(f"{where} ({names[0]}): expected {_BOXES[key]}, got {', '.join(value)}")
    for name in names:
        if edges is None:
            objects.note(NO_BOXES, f"{what} ({name}): {key}")
        else:
            add_shape(objects, name, edges)


def _edges(value: dict[str, Any], size: tuple[int, int], where: str) -> list[float] | None:
    """The edges of a region in continuous pixels; None: it is no rectangle, ellipse or polygon."""
    height, width = size

    def pixels(key: str) -> float:
        of = width if key in ("x", "width", "radiusX") else height
        return number(value[key], f"{where}: {key}") / 100 * of

    if "points" in value:
        return edges_of((x / 100 * width, y / 100 * height) for x, y in points_of(value["points"], f"{where}: points"))
    turned = number(value.get("rotation") or 0, f"{where}: rotation")
    if {"x", "y", "radiusX", "radiusY"} <= value.keys():
        return ellipse((pixels("x"), pixels("y")), (pixels("radiusX"), pixels("radiusY")), turned)
    if {"x", "y", "width", "height"} <= value.keys():
        x, y = pixels("x"), pixels("y")  # the corner that stays when the region is turned
        return turned_rectangle([x, y, x + pixels("width"), y + pixels("height")], turned, (x, y))
    return None
