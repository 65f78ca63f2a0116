"""Units of the boxes in a file: pixels, or fractions of the photo's width and height."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum

FIRST_PIXEL = 2.0
"""Smallest number that cannot be a fraction, even of a box that extends beyond the photo."""


class Unit(Enum):
    """What the numbers of a box are."""

    PIXELS = "pixels"
    FRACTIONS = "fractions of the photo"


def unit_of(box: Iterable[float]) -> Unit | None:
    """Return the unit of the numbers of one box; None: they may be of either."""
    numbers = list(box)
    if any(abs(v) >= FIRST_PIXEL for v in numbers):
        return Unit.PIXELS
    fractions = all(0 <= v <= 1 for v in numbers) and not all(float(v).is_integer() for v in numbers)
    return Unit.FRACTIONS if fractions else None


def common_unit(boxes: Iterable[Iterable[float]]) -> Unit:
    """Return the unit of most boxes of a file; pixels if none of them decides it."""
    counts = Counter(map(unit_of, boxes))
    return Unit.FRACTIONS if counts[Unit.FRACTIONS] > counts[Unit.PIXELS] else Unit.PIXELS


def check_unit(box: Sequence[float], unit: Unit, where: str) -> None:
    """Refuse a box that cannot be in the unit of its file.

    Args:
        box: the numbers as written in the file.
        unit: that of the file.
        where: file and line, the start of the error message.

    Raises:
        ValueError: the box is in the other unit.
    """
    own = unit_of(box)
    if own not in (None, unit):
        assert own is not None
        raise ValueError(f"{where}: the box is in {own.value}, but the file is in {unit.value}; correct one of them")


def to_pixels(corners: Sequence[float], size: tuple[int, int]) -> list[float]:
    """Convert corners in fractions of the photo to 0-based inclusive pixels.

    They are rounded to a hundredth of a pixel, which removes the error of fractions written with six digits.

    Args:
        corners: x0, y0, x1, y1, the edges of the box.
        size: (H, W) of the photo in pixels.
    """
    (height, width), (x0, y0, x1, y1) = size, corners
    return [round(v, 2) for v in (x0 * width, y0 * height, x1 * width - 1, y1 * height - 1)]
