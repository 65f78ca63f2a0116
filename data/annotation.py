"""Annotation of one image as all readers return it: class names, boxes inside the image, remarks on faulty boxes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

UNKNOWN_WORDS = "flags that are neither true nor false, taken as false"
FRACTIONS = "boxes in fractions of the photo, converted to pixels"
REPEATED = "photos listed more than once, used once"
UNUSED = "labels without a photo"
UNLABELLED = "photos without an annotation, left out"
TWICE = "objects labelled twice, used once"
SWAPPED = "boxes with swapped corners, swapped back"
"""Kinds of remarks; see `Annotation.notes`."""

LARGEST_SIDE = 1_000_000
"""Pixels; the side of an image that no photo has."""

_TRUE = frozenset({"1", "1.0", "true", "yes", "y", "t", "on"})
_FALSE = frozenset({"0", "0.0", "false", "no", "n", "f", "off", "none", "null", ""})


@dataclass(frozen=True, eq=False)
class Annotation:
    """The annotated objects of one image.

    Attributes:
        source: the annotation file.
        size: (H, W) of the image in pixels.
        names: class name of each of the G objects.
        boxes: float64 (G, 4), xyxy, 0-based inclusive pixels, clipped to the image.
        difficult: bool (G,), objects that evaluation ignores.
        dropped: one remark per object that was dropped because its box is missing, empty or outside the image.
        clipped: one remark per object whose box was clipped at the image border.
        notes: kind -> other remarks of that kind.
    """

    source: Path
    size: tuple[int, int]
    names: tuple[str, ...]
    boxes: NDArray[np.float64]
    difficult: NDArray[np.bool_]
    dropped: tuple[str, ...]
    clipped: tuple[str, ...]
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Objects:
    """Collects the objects of one image and checks their boxes.

    Args:
        source: the annotation file.
        size: (H, W) of the image in pixels.

    Raises:
        ValueError: the size is that of no photo.
    """

    def __init__(self, source: Path, size: tuple[int, int]) -> None:
        if max(size) > LARGEST_SIDE:
            raise ValueError(f"{source}: an image with a side of more than {LARGEST_SIDE:,} pixels; correct its size")
        self.source, self.size = source, size
        self._kept: dict[tuple[str, tuple[float, ...]], tuple[list[float], bool]] = {}  # by class and unclipped box
        self._seen = 0
        self._dropped: list[str] = []
        self._clipped: list[str] = []
        self._notes: dict[str, list[str]] = defaultdict(list)

    def add(self, name: str, box: Sequence[float], shown: Sequence[float], difficult: bool = False) -> None:
        """Add an object, or drop it with a remark if its box is unusable.

        The same box of the same class comes once; it is difficult if it is so each time.

        Args:
            name: class name.
            box: xyxy, 0-based inclusive pixels.
            shown: the coordinates as written in the file, for remarks.
            difficult: whether evaluation ignores the object.
        """
        inside, fault = _inside(list(box), self.size)
        if inside is None:
            self.drop(name, shown, fault)
            return
        remark, key = self._next(name, shown), (name, tuple(box))
        if key in self._kept:
            self.note(TWICE, remark)
            difficult = difficult and self._kept[key][1]
        elif fault:
            self._clipped.append(f"{remark} {fault}")
        self._kept[key] = inside, difficult

    def drop(self, name: str, shown: Sequence[float], fault: str) -> None:
        """Leave out an object, with a remark.

        Args:
            name: class name.
            shown: the coordinates as written in the file; empty if there are none.
            fault: what is wrong with it.
        """
        self._dropped.append(f"{self._next(name, shown)} {fault}")

    def ordered(self, name: str, corners: Sequence[float]) -> list[float]:
        """Return the corners of the next object with x0 <= x1 and y0 <= y1; swapping them back is a remark.

        Args:
            name: class name.
            corners: x0, y0, x1, y1 as the file means them: pixels that belong to the box, or its edges.
        """
        x0, y0, x1, y1 = corners
        found = [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
        if found != list(corners):
            self.note(SWAPPED, _remark(self._seen + 1, name, corners))
        return found

    def _next(self, name: str, shown: Sequence[float]) -> str:
        """Count an object, and return the start of the remarks on it."""
        self._seen += 1
        return _remark(self._seen, name, shown)

    def note(self, kind: str, remark: str) -> None:
        """Add a remark of some kind."""
        self._notes[kind].append(remark)

    def flag(self, value: object, what: str) -> bool:
        """Convert a flag of the next object; an unknown word is false, with a remark.

        Args:
            value: number, truth value or word.
            what: name of the flag, for the remark.
        """
        word = str(value).strip().lower()
        if word not in _TRUE | _FALSE:
            self.note(UNKNOWN_WORDS, f"object {self._seen + 1}: {what} is {str(value).strip()!r}")
        return word in _TRUE

    def annotation(self) -> Annotation:
        """Return the objects added so far."""
        return Annotation(
            self.source,
            self.size,
            tuple(name for name, _ in self._kept),
            np.array([box for box, _ in self._kept.values()], np.float64).reshape(-1, 4),
            np.array([difficult for _, difficult in self._kept.values()], np.bool_),
            tuple(self._dropped),
            tuple(self._clipped),
            dict(self._notes),
        )


def _remark(count: int, name: str, shown: Sequence[float]) -> str:
    written = f" {[plain(v) for v in shown]}" if shown else ""
    return f"object {count} ({name}){written}"


def _inside(box: list[float], size: tuple[int, int]) -> tuple[list[float] | None, str]:
    """Clip a box to the image: xyxy, (H, W) -> (clipped box, or None if it is unusable; what is wrong with it).

    A single pixel means that the annotator clicked without dragging; a box one pixel wide *or* high is valid.
    """
    height, width = size
    x0, y0, x1, y1 = box
    if x1 < x0 or y1 < y0:  # narrower than a pixel
        return None, "is empty"
    if x0 == x1 and y0 == y1:
        return None, "is a single point"
    if x1 < 0 or y1 < 0 or x0 > width - 1 or y0 > height - 1:
        return None, f"lies outside the image of {width}x{height}"
    clipped = [max(x0, 0.0), max(y0, 0.0), min(x1, width - 1.0), min(y1, height - 1.0)]
    return clipped, "" if clipped == box else f"extends beyond the image of {width}x{height}"


def plain(value: float) -> int | float:
    """Turn a whole number into an int, as it is written in files: 3.0 -> 3."""
    return int(value) if float(value).is_integer() else value


def number(text: object, what: str) -> float:
    """Convert a value from a file to a finite float.

    Args:
        text: the value.
        what: name of the value, the start of the error message.

    Raises:
        ValueError: the value is not a finite number.
    """
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what} is {text!r}, expected a finite number")
    return value
