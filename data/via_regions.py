"""Regions that VIA's users draw on a photo, and the attribute that is their class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.annotation import Annotation, Objects, number
from data.files import image_size
from data.json_files import class_name, expect
from data.shapes import NO_BOXES, add_shape, edges_of, ellipse, turned_rectangle

CLASS_ATTRIBUTES = ("class", "label", "name", "class_name", "category", "type")
"""What the attribute with the class is called, in upper or lower case, if regions have several."""


@dataclass(frozen=True)
class Region:
    """One region as it is written.

    Attributes:
        where: its place in the file, the start of error messages.
        shape: its shape attributes, a dict in a valid file.
        attributes: its region attributes, a dict in a valid file.
    """

    where: str
    shape: Any
    attributes: Any


def class_attribute(path: Path, regions: Iterable[Region]) -> str:
    """Return the name of the attribute that states the class in a file.

    Raises:
        ValueError: several attributes may be meant.
    """
    given = [region.attributes for region in regions if isinstance(region.attributes, dict)]
    names = list(dict.fromkeys(name for attributes in given for name in attributes))
    usual = [name for wanted in CLASS_ATTRIBUTES for name in names if name.lower() == wanted]
    if not usual and len(names) > 1:
        raise ValueError(f"{path}: regions have the attributes {', '.join(names)}; call the one with the class 'class'")
    return next(iter([*usual, *names]), CLASS_ATTRIBUTES[0])


def read_regions(path: Path, regions: Sequence[Region], attribute: str, photo: Path) -> Annotation:
    """Read the regions of a photo.

    Args:
        path: the label file.
        regions: those of the photo.
        attribute: name of the attribute that states the class.
        photo: the photo file, for its size.

    Raises:
        OSError, ValueError: a region is damaged or has no class, or the photo cannot be read.
    """
    objects = Objects(path, image_size(photo))
    for count, region in enumerate(regions, 1):
        shape = expect(region.shape, dict, f"{region.where}: shape_attributes")
        attributes = expect(region.attributes, dict, f"{region.where}: region_attributes")
        name = _class_of(attributes.get(attribute), attribute, region.where)
        edges = _edges(shape, f"{region.where} ({name})")
        if edges is None:
            objects.note(NO_BOXES, f"region {count} ({name}): {shape.get('name')}")
        else:
            add_shape(objects, name, edges)
    return objects.annotation()


def _class_of(value: Any, attribute: str, where: str) -> str:
    if isinstance(value, dict):
        ticked = [name for name, chosen in value.items() if chosen is True or chosen == "true"]
        if len(ticked) > 1:
            raise ValueError(f"{where}: {attribute} has {len(ticked)} values, {', '.join(ticked)}; choose one")
        value = ticked[0] if ticked else None
    return class_name(value, where)


def _edges(shape: dict[str, Any], where: str) -> list[float] | None:
    """The edges of a region in continuous pixels; None: it is no rectangle, circle, ellipse or polygon."""
    kind = shape.get("name")

    def value(key: str) -> float:
        return number(shape.get(key), f"{where}: {key}")

    if kind == "rect":
        x, y = value("x"), value("y")
        return turned_rectangle([x, y, x + value("width"), y + value("height")], 0, (x, y))
    if kind == "circle":
        return ellipse((value("cx"), value("cy")), (value("r"), value("r")))
    if kind == "ellipse":
        turned = number(shape.get("theta") or 0, f"{where}: theta")
        return ellipse((value("cx"), value("cy")), (value("rx"), value("ry")), math.degrees(turned))
    if kind == "polygon":
        xs, ys = (_numbers(shape.get(key), f"{where}: {key}") for key in ("all_points_x", "all_points_y"))
        if len(xs) != len(ys) or not xs:
            raise ValueError(f"{where}: a polygon of {len(xs)} x and {len(ys)} y, expected as many of both")
        return edges_of(zip(xs, ys, strict=True))
    return None


def _numbers(value: Any, what: str) -> list[float]:
    return [number(v, what) for v in expect(value, list, what)]
