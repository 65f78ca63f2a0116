"""What every reader makes of one image's annotation: names and boxes inside the image, and remarks on the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Annotation:
    """The objects of one image.

    Attributes:
        source: the file that says so.
        size: (H, W) in pixels.
        names: class of each of the G objects.
        boxes: float64 (G, 4), xyxy, 0-based inclusive pixels, inside the image.
        difficult: bool (G,).
        dropped: one remark for each object left out, as its box marks nothing.
        clipped: one remark for each object whose box reached over the border.
    """

    source: Path
    size: tuple[int, int]
    names: tuple[str, ...]
    boxes: NDArray[np.float64]
    difficult: NDArray[np.bool_]
    dropped: tuple[str, ...]
    clipped: tuple[str, ...]


class Objects:
    """Collects the objects of one image.

    Args:
        source: the file that they stand in.
        size: (H, W) in pixels.
    """

    def __init__(self, source: Path, size: tuple[int, int]) -> None:
        self.source, self.size = source, size
        self._kept: list[tuple[str, list[float], bool]] = []
        self._seen = 0
        self._dropped: list[str] = []
        self._clipped: list[str] = []

    def add(self, name: str, box: Sequence[float], shown: Sequence[float], difficult: bool = False) -> None:
        """Take an object, or note why not.

        Args:
            name: its class.
            box: xyxy, 0-based inclusive pixels.
            shown: the numbers as they stand in the file, for remarks.
            difficult: whether evaluation leaves it out.
        """
        self._seen += 1
        inside, fault = _inside(list(box), self.size)
        remark = f"object {self._seen} ({name}) {[plain(v) for v in shown]} {fault}"
        if inside is None:
            self._dropped.append(remark)
            return
        if fault:
            self._clipped.append(remark)
        self._kept.append((name, inside, difficult))

    def annotation(self) -> Annotation:
        """All of them."""
        return Annotation(
            self.source,
            self.size,
            tuple(name for name, _, _ in self._kept),
            np.array([box for _, box, _ in self._kept], np.float64).reshape(-1, 4),
            np.array([difficult for _, _, difficult in self._kept], np.bool_),
            tuple(self._dropped),
            tuple(self._clipped),
        )


def _inside(box: list[float], size: tuple[int, int]) -> tuple[list[float] | None, str]:
    """Corners -> (corners within the image or None, what was wrong with them).

    A single pixel is where an annotator clicked without dragging; one pixel wide *or* high is a box.
    """
    height, width = size
    x0, y0, x1, y1 = box
    if x1 < x0 or y1 < y0:
        return None, "has its corners swapped"
    if x0 == x1 and y0 == y1:
        return None, "is a single point"
    if x1 < 0 or y1 < 0 or x0 > width - 1 or y0 > height - 1:
        return None, f"lies outside the image of {width}x{height}"
    clipped = [max(x0, 0.0), max(y0, 0.0), min(x1, width - 1.0), min(y1, height - 1.0)]
    return clipped, "" if clipped == box else f"reaches over the image of {width}x{height}"


def plain(value: float) -> int | float:
    """3.0 -> 3, as a file has it."""
    return int(value) if float(value).is_integer() else value


def number(text: object, what: str) -> float:
    """A finite number out of a file.

    Raises:
        ValueError: it is none.
    """
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what} is {text!r}, expected a finite number")
    return value
