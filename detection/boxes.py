"""Box operations: pure functions on (N, 4) arrays.

Boxes are xyxy, in 0-based pixels, with inclusive corners: width = x2 - x1 + 1, the VOC and R-CNN convention. They are
stored as float32 and computed in float64, because float32 changes the result of non-maximum suppression where an IoU
equals the threshold.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
MANY, FEW, LOW = 5000, 1000, 0.25  # boxes to suppress, boxes to keep, overlap: above these, `_near` is worth its time
WORTH = 0.4  # of all pairs; if more are near each other, all are compared


def as_boxes(boxes: ArrayLike) -> Floats:
    """Convert boxes to float64 (N, 4); an empty sequence becomes (0, 4).

    Raises:
        ValueError: the array is not (N, 4).
    """
    array = np.asarray(boxes, np.float64)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes: expected shape (N, 4), got {array.shape}")
    return array


def checked(boxes: ArrayLike, image_size: tuple[int, int]) -> NDArray[np.float32]:
    """Convert boxes to float32 (N, 4), after checking that each marks a part of an image.

    Args:
        boxes: (N, 4), image pixels; boxes may extend beyond the image.
        image_size: (H, W) in pixels.

    Raises:
        ValueError: the array is not (N, 4), or a box is not finite, has swapped corners or lies outside the image; the
            message names the first such row.
    """
    with np.errstate(over="ignore"):
        b = as_boxes(boxes).astype(np.float32)
    (height, width), (x0, y0, x1, y1) = image_size, b.T
    faults = {
        "is not finite": ~np.isfinite(b).all(axis=1),
        "has swapped corners": (x1 + 1 <= x0) | (y1 + 1 <= y0),
        "lies outside the image": (x1 <= -1) | (y1 <= -1) | (x0 >= width) | (y0 >= height),
    }
    wrong = np.any(list(faults.values()), axis=0)
    if wrong.any():
        row = int(wrong.argmax())
        values, fault = ", ".join(f"{v:g}" for v in b[row]), next(text for text, rows in faults.items() if rows[row])
        raise ValueError(
            f"boxes: row {row} ({values}) {fault}; expected x0, y0, x1, y1 in pixels of an image of {width} x {height} "
            f"with x0 <= x1 and y0 <= y1; {wrong.sum()} of {len(b)} rows are wrong"
        )
    return b


def area(boxes: ArrayLike) -> Floats:
    """Compute the area of each box in pixels: (N, 4) -> float64 (N,)."""
    b = as_boxes(boxes)
    return (b[:, 2] - b[:, 0] + 1) * (b[:, 3] - b[:, 1] + 1)


def iou(a: ArrayLike, b: ArrayLike) -> Floats:
    """Compute the intersection over union of every pair of boxes.

    Args:
        a: (A, 4), xyxy, inclusive corners.
        b: (B, 4), in the same frame.

    Returns:
        float64 (A, B) in [0, 1].

    Source: utils/boxoverlap.m.
    """
    a, b = as_boxes(a), as_boxes(b)
    corner_min = np.maximum(a[:, None, :2], b[None, :, :2])  # (A, B, 2)
    corner_max = np.minimum(a[:, None, 2:], b[None, :, 2:])  # (A, B, 2)
    sides = np.clip(corner_max - corner_min + 1, 0, None)
    intersection = sides[..., 0] * sides[..., 1]  # (A, B)
    union = area(a)[:, None] + area(b)[None, :] - intersection
    return intersection / union


def clip(boxes: ArrayLike, image_size: tuple[int, int]) -> Floats:
    """Clip boxes to an image of (H, W) pixels: (N, 4) -> float64 (N, 4)."""
    height, width = image_size
    limits = np.array([width - 1, height - 1, width - 1, height - 1], np.float64)
    return np.clip(as_boxes(boxes), 0, limits)


def mirror(boxes: ArrayLike, width: int) -> NDArray[np.float32]:
    """Flip boxes left to right in an image of `width` pixels: (N, 4) -> float32 (N, 4)."""
    x1, y1, x2, y2 = as_boxes(boxes).T
    return np.stack([width - 1 - x2, y1, width - 1 - x1, y2], axis=1).astype(np.float32)


def to_xywh(boxes: ArrayLike) -> Floats:
    """Convert xyxy with inclusive corners to COCO's x, y, width, height: (N, 4) -> float64 (N, 4)."""
    b = as_boxes(boxes).copy()
    b[:, 2:] += 1 - b[:, :2]
    return b


def enlarge(boxes: ArrayLike, factor: float) -> Floats:
    """Scale the width and height of boxes, (N, 4) xyxy, about their centres: float64 (N, 4), not clipped."""
    b = as_boxes(boxes)
    middle, half = (b[:, :2] + b[:, 2:]) / 2, (b[:, 2:] - b[:, :2]) * (factor / 2)
    return np.hstack([middle - half, middle + half])


def nms(boxes: ArrayLike, scores: ArrayLike, threshold: float, most: int | None = None) -> NDArray[np.int64]:
    """Suppress overlapping boxes by greedy non-maximum suppression.

    Args:
        boxes: (N, 4), xyxy, inclusive corners.
        scores: (N,). Of equal scores, the larger index comes first.
        threshold: a box is suppressed if its IoU with a kept box is strictly greater.
        most: stop after this many boxes; None keeps all.

    Returns:
        int64 indices of the kept boxes, best first.

    Raises:
        ValueError: the numbers of boxes and scores differ.

    Source: nms/nms.m.
    """
    b = np.ascontiguousarray(as_boxes(boxes))
    order = np.argsort(np.asarray(scores, np.float64), kind="stable")[::-1]
    if len(order) != len(b):
        raise ValueError(f"scores: expected {len(b)}, one per box, got {len(order)}")
    b, limit = b[order], len(b) if most is None else most
    large = len(b) > MANY and limit > FEW and threshold > LOW and bool(np.isfinite(b).all())
    near = _near(b, threshold) if large else None
    keep = _suppress(b, float(threshold), limit) if near is None else _suppress_near(b, float(threshold), limit, *near)
    return order[keep]


def _near(boxes: Floats, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None:
    """Find, for each box, those that begin near enough for an IoU above the threshold, along x or y.

    The IoU of two boxes is at most that of their sides. A side of length w that begins d later than another one has an
    IoU of (w - d) / w at most, and one that begins d earlier of w / (w + d).

    Args:
        boxes: (N, 4), finite.
        threshold: positive.

    Returns:
        indices of the boxes, int64 (N,), in the order of their beginnings; and first and last + 1 in this order of
        those near each box, int64 (N,) each. None: most are near each other along both axes.
    """
    found = []
    for low, high in (boxes[:, [0, 2]].T, boxes[:, [1, 3]].T):
        length, slack = high - low + 1, 1e-9 * (np.abs(low) + np.abs(high) + 1)  # more than what is lost by rounding
        by_low = np.argsort(low, kind="stable")
        first = np.searchsorted(low[by_low], low - length * (1 / threshold - 1) - slack)
        last = np.searchsorted(low[by_low], low + length * (1 - threshold) + slack, side="right")
        found.append((np.maximum(last - first, 0).sum(), (by_low, first, last)))
    pairs, near = min(found, key=lambda axis: axis[0])
    return near if pairs < WORTH * len(boxes) ** 2 else None


@numba.njit(cache=True, nogil=True)
def _suppress_near(
    boxes: Floats,
    threshold: float,
    most: int,
    by_low: NDArray[np.int64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """`_suppress`, which looks only at those near each box, see `_near`; its loop stays as fast as it is for a few."""
    n = len(boxes)
    keep = np.ones(n, np.bool_)
    near = boxes[by_low]
    for i in range(n):
        if not keep[i]:
            continue
        if most <= 0:
            keep[i:] = False
            break
        most -= 1
        x1, y1, x2, y2 = boxes[i]
        area_i = (x2 - x1 + 1) * (y2 - y1 + 1)
        for p in range(first[i], last[i]):
            j = by_low[p]
            if j <= i or not keep[j]:
                continue
            w = min(x2, near[p, 2]) - max(x1, near[p, 0]) + 1
            h = min(y2, near[p, 3]) - max(y1, near[p, 1]) + 1
            if w <= 0 or h <= 0:
                continue
            intersection = w * h
            area_j = (near[p, 2] - near[p, 0] + 1) * (near[p, 3] - near[p, 1] + 1)
            keep[j] = intersection / (area_i + area_j - intersection) <= threshold
    return keep


@numba.njit(cache=True, nogil=True)
def _suppress(boxes: Floats, threshold: float, most: int) -> NDArray[np.bool_]:
    """Mark the first `most` surviving boxes of (N, 4), sorted best first: bool (N,)."""
    n = len(boxes)
    keep = np.ones(n, np.bool_)
    for i in range(n):
        if not keep[i]:
            continue
        if most <= 0:
            keep[i:] = False
            break
        most -= 1
        x1, y1, x2, y2 = boxes[i]
        area_i = (x2 - x1 + 1) * (y2 - y1 + 1)
        for j in range(i + 1, n):
            if not keep[j]:
                continue
            w = min(x2, boxes[j, 2]) - max(x1, boxes[j, 0]) + 1
            h = min(y2, boxes[j, 3]) - max(y1, boxes[j, 1]) + 1
            if w <= 0 or h <= 0:
                continue
            intersection = w * h
            area_j = (boxes[j, 2] - boxes[j, 0] + 1) * (boxes[j, 3] - boxes[j, 1] + 1)
            keep[j] = intersection / (area_i + area_j - intersection) <= threshold
    return keep
