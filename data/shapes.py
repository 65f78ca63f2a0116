"""The shapes that labelling tools draw, as boxes.

Tools state continuous coordinates: the photo reaches from 0 to its width and height, and a pixel is 1 wide. The edges
x0, y0, x1, y1 of a shape become a box of 0-based inclusive pixels, x1 - 1 and y1 - 1, as COCO's x, y, width, height do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from data.annotation import Objects, number
from data.json_files import shown

NO_BOXES = "shapes that are no boxes, left out"
"""Kind of remarks on points, lines and the like; see `Annotation.notes`."""

_DECIMALS = 4  # of a pixel; removes the rounding errors of rotations and percentages

Point = tuple[float, float]


def add_shape(objects: Objects, name: str, edges: Sequence[float], difficult: bool = False) -> None:
    """Add the object that a shape marks; swapped edges are swapped back, and a shape without area is dropped, each with
    a remark.

    Args:
        objects: those of the photo.
        name: class name.
        edges: x0, y0, x1, y1 of the shape in continuous pixels, from `edges_of` or another function of this module.
        difficult: whether evaluation ignores the object.
    """
    x0, y0, x1, y1 = objects.ordered(name, [round(v, _DECIMALS) for v in edges])
    if x0 == x1 or y0 == y1 or not all(map(math.isfinite, edges)):
        objects.drop(name, (x0, y0, x1, y1), "has no area" if math.isfinite(sum(edges)) else "is not finite")
        return
    objects.add(name, (x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), (x0, y0, x1, y1), difficult)


def edges_of(points: Iterable[Point]) -> list[float]:
    """Return the edges x0, y0, x1, y1 of points in any order; at least one."""
    xs, ys = zip(*points, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]


def points_of(value: Any, what: str) -> list[Point]:
    """Read points [[x, y], ...].

    Args:
        value: from a file.
        what: name of the value, the start of the error message.

    Raises:
        ValueError: the value is no list of pairs of finite numbers, or an empty one.
    """
    pairs = isinstance(value, list) and all(isinstance(point, list) and len(point) == 2 for point in value)
    if not pairs or not value:
        raise ValueError(f"{what} is {shown(value)}, expected a list of points [x, y]")
    return [(number(x, f"{what}: x"), number(y, f"{what}: y")) for x, y in value]


def turned_rectangle(edges: Sequence[float], degrees: float, pivot: Point) -> list[float]:
    """Return the edges of a rectangle after a rotation.

    Args:
        edges: x0, y0, x1, y1 before it.
        degrees: angle, clockwise as seen in the photo.
        pivot: the point that stays.
    """
    if not degrees % 360:
        return list(edges)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    (px, py), (x0, y0, x1, y1) = pivot, edges
    corners = [(x - px, y - py) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    return edges_of((px + x * cos - y * sin, py + x * sin + y * cos) for x, y in corners)


def ellipse(center: Point, radii: Point, degrees: float = 0.0) -> list[float]:
    """Return the edges of an ellipse.

    Args:
        center: x, y.
        radii: along the x and the y axis before the rotation.
        degrees: angle of the rotation.
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half_width = math.hypot(radii[0] * cos, radii[1] * sin)
    half_height = math.hypot(radii[0] * sin, radii[1] * cos)
    return [center[0] - half_width, center[1] - half_height, center[0] + half_width, center[1] + half_height]
