"""Bounding boxes of COCO's masks: polygons, and runs of pixels as numbers or compressed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_COMPRESSED = re.compile(r"([P-o]{0,6}[0-O])+")  # numbers in base 32, as pycocotools writes and expects them


_FARTHEST = 1e9  # pixels; neither NaN nor numbers that no float holds are within


def box_of(segmentation: Any) -> list[float] | None:
    """Return x, y, width and height of the box around a mask in pixels; None if there is no mask.

    Args:
        segmentation: polygons, each x0, y0, x1, y1, ... of at least three points; or one polygon; or runs with "size"
            (height, width) and "counts", a list or a compressed text.
    """
    if isinstance(segmentation, dict):
        return _around_runs(segmentation.get("counts"), segmentation.get("size"))
    if not isinstance(segmentation, list):
        return None
    polygons = segmentation if any(isinstance(part, list) for part in segmentation) else [segmentation]
    return _around_polygons(polygons) if all(map(_is_polygon, polygons)) else None


def _is_polygon(values: Any) -> bool:
    whole = isinstance(values, list) and len(values) >= 6 and len(values) % 2 == 0
    return whole and all(isinstance(v, int | float) and -_FARTHEST < v < _FARTHEST for v in values)


def _around_polygons(polygons: Sequence[Sequence[float]]) -> list[float]:
    xs = [x for polygon in polygons for x in polygon[0::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _around_runs(counts: Any, size: Any) -> list[float] | None:
    """Return the box around runs; None if they are not valid, which pycocotools does not check."""
    from pycocotools import mask

    if not isinstance(size, list) or len(size) != 2 or not all(type(v) is int and v > 0 for v in size):
        return None
    height, width = size
    if isinstance(counts, list):
        if not all(type(v) is int and v >= 0 for v in counts) or sum(counts) != height * width:
            return None
        runs = mask.frPyObjects({"size": size, "counts": counts}, height, width)
    elif isinstance(counts, str) and _COMPRESSED.fullmatch(counts):
        runs = {"size": size, "counts": counts.encode("ascii")}
    else:
        return None
    x, y, w, h = mask.toBbox(runs).tolist()
    return [x, y, w, h] if x + w <= width and y + h <= height else None
