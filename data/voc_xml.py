"""One VOC annotation file -> names and boxes, with everything checked that a stranger's file may hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Annotation:
    """What one file says.

    Attributes:
        size: (H, W) in pixels.
        names: class of each of the G objects.
        boxes: float64 (G, 4), xyxy, 0-based inclusive pixels, inside the image.
        difficult: bool (G,).
        dropped: one remark for each object left out, as its box marks nothing.
        clipped: one remark for each object whose box reached over the border.
    """

    size: tuple[int, int]
    names: tuple[str, ...]
    boxes: NDArray[np.float64]
    difficult: NDArray[np.bool_]
    dropped: tuple[str, ...]
    clipped: tuple[str, ...]


def read_annotation(path: Path) -> Annotation:
    """Read and check one file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no XML, or holds no size, a nameless object, or something else than a finite
            number where a number belongs. The message names file and object.
    """
    try:
        root = parse(path).getroot()
    except (ParseError, DefusedXmlException, LookupError) as error:  # LookupError: unknown encoding
        raise ValueError(f"{path}: not a readable annotation ({' '.join(str(error).split())})") from None
    size = _size(root, path)
    names: list[str] = []
    boxes: list[list[float]] = []
    difficult: list[bool] = []
    remarks: dict[str, list[str]] = {"dropped": [], "clipped": []}
    for number, element in enumerate(root.findall("object"), 1):
        where = f"{path}: object {number}"
        name = _text(element, "name")
        if not name:
            raise ValueError(f"{where} has no <name>")
        where = f"{where} ({name})"
        raw = _box(element, where)
        is_difficult = _flag(element, "difficult", where)
        box, fault = _inside(raw, size)
        remark = f"object {number} ({name}) {[_plain(v) for v in raw]} {fault}"
        if box is None:
            remarks["dropped"].append(remark)
            continue
        if fault:
            remarks["clipped"].append(remark)
        names.append(name)
        boxes.append(box)
        difficult.append(is_difficult)
    return Annotation(
        size,
        tuple(names),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(difficult, np.bool_),
        tuple(remarks["dropped"]),
        tuple(remarks["clipped"]),
    )


def _inside(raw: list[float], size: tuple[int, int]) -> tuple[list[float] | None, str]:
    """1-based corners -> (0-based corners within the image or None, what was wrong with them).

    A single pixel is where an annotator clicked without dragging; one pixel wide *or* high is a box.
    """
    height, width = size
    x1, y1, x2, y2 = raw
    if x2 < x1 or y2 < y1:
        return None, "has its corners swapped"
    if x1 == x2 and y1 == y2:
        return None, "is a single point"
    if x2 < 1 or y2 < 1 or x1 > width or y1 > height:
        return None, f"lies outside the image of {width}x{height}"
    clipped = [max(x1, 1.0), max(y1, 1.0), min(x2, float(width)), min(y2, float(height))]
    fault = "" if clipped == raw else f"reaches over the image of {width}x{height}, counted from 1"
    return [v - 1 for v in clipped], fault


def _size(root: Element, path: Path) -> tuple[int, int]:
    element = root.find("size")
    if element is None:
        raise ValueError(f"{path}: no <size>; expected <size> with <width> and <height> in pixels")
    height, width = (_number(element, tag, f"{path}: <size>") for tag in ("height", "width"))
    if height < 1 or width < 1 or height % 1 or width % 1:
        got = f"{_plain(width)}x{_plain(height)}"
        raise ValueError(f"{path}: <size> is {got}, expected whole numbers of pixels of at least 1")
    return int(height), int(width)


def _box(element: Element, where: str) -> list[float]:
    """xmin, ymin, xmax, ymax as they stand in the file."""
    box = element.find("bndbox")
    if box is None:
        raise ValueError(f"{where} has no <bndbox>")
    return [_number(box, tag, where) for tag in ("xmin", "ymin", "xmax", "ymax")]


def _number(element: Element, tag: str, where: str) -> float:
    text = _text(element, tag)
    if text is None:
        raise ValueError(f"{where} has no <{tag}>")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: <{tag}> is {text!r}, expected a finite number")
    return value


def _flag(element: Element, tag: str, where: str) -> bool:
    """A 0 or 1, where a missing or empty one means 0."""
    text = _text(element, tag) or "0"
    if text not in ("0", "1"):
        raise ValueError(f"{where}: <{tag}> is {text!r}, expected 0 or 1")
    return text == "1"


def _text(element: Element, tag: str) -> str | None:
    text = element.findtext(tag)
    return None if text is None else text.strip()


def _plain(value: float) -> int | float:
    """3.0 -> 3, as the file had it."""
    return int(value) if value.is_integer() else value
