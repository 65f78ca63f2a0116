"""EdgeBoxes: proposals that enclose whole contours.

The score of a box is the magnitude of the edge groups inside it, without those connected to a group that crosses its
border, minus the edges in its central part, divided by a power of its perimeter.

Source: Zitnick and Dollár, "Edge Boxes: Locating Object Proposals from Edges", ECCV 2014, and the constants of their
program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from detection.image import as_rgb
from proposals.edge_groups import EdgeGroups, group_edges
from proposals.edges import EdgeMap, detect_edges, thin
from proposals.hierarchical_search import MAX_SIDE, MIN_SIDE
from proposals.resize import enlarge, shrink

WEAKEST_PATH = 0.05  # smallest product of affinities along a path that connects two groups


@dataclass(frozen=True)
class EdgeBoxesSettings:
    """Constants of the authors' program (edgeBoxes.m), except for `min_side`, which is this project's.

    Attributes:
        alpha: IoU of neighbouring windows of the search; a larger one gives a denser search.
        beta: a box is suppressed if its IoU with a better one is above this.
        min_score: boxes with a lower score are dropped.
        max_boxes: number of best boxes to keep.
        min_edge: edges up to this strength are ignored (edgeMinMag).
        max_turn: limit of a group's total turn, in half circles (edgeMergeThr).
        min_group: groups up to this magnitude are dissolved (clusterMinMag).
        max_aspect: largest aspect ratio of a window, longer over shorter side.
        min_area: smallest area of a window in pixels.
        gamma: exponent of affinities.
        kappa: exponent of the perimeter.
        min_side: minimum width and height of a box in image pixels.
    """

    alpha: float = 0.65
    beta: float = 0.75
    min_score: float = 0.01
    max_boxes: int = 10_000
    min_edge: float = 0.1
    max_turn: float = 0.5
    min_group: float = 0.5
    max_aspect: float = 3.0
    min_area: float = 1000.0
    gamma: float = 2.0
    kappa: float = 1.5
    min_side: int = MIN_SIDE

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ValueError(f"{name}: expected a number between 0 and 1, got {value}")
        for name in ("max_boxes", "min_side"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}")


def edge_boxes(
    image: NDArray[np.uint8],
    edges: EdgeMap | None = None,
    settings: EdgeBoxesSettings | None = None,
    max_side: int = MAX_SIDE,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Propose boxes that are likely to hold an object, best first, with their scores.

    Args:
        image: uint8, RGB (H, W, 3) or grey (H, W).
        edges: edge map of the image, downsized to `max_side`; None: from `edges.detect_edges`.
        settings: constants of the search; None: the defaults.
        max_side: limit of the image's longer side in pixels; a larger image is downsized for the search.

    Returns:
        boxes, float32 (R, 4), xyxy, 0-based inclusive image pixels; and scores, float32 (R,), descending.

    Raises:
        ValueError: the image or the edge map has another shape or type.
    """
    settings, image = settings or EdgeBoxesSettings(), as_rgb(image)
    searched = shrink(image, max_side)
    if edges is None:
        edges = detect_edges(searched)
    if edges.strength.shape != searched.shape[:2]:
        raise ValueError(f"edges: expected a map of shape {searched.shape[:2]}, got {edges.strength.shape}")
    boxes, scores = search(thin(edges), settings)
    boxes_image = enlarge(boxes, searched.shape[:2], image.shape[:2])
    large = (boxes_image[:, 2:] - boxes_image[:, :2] + 1 >= settings.min_side).all(axis=1)
    return boxes_image[large].astype(np.float32), scores[large].astype(np.float32)


def search(edges: EdgeMap, s: EdgeBoxesSettings) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Score, refine and suppress the windows of a thinned edge map.

    Args:
        edges: the thinned edge map.
        s: constants of the search.

    Returns:
        boxes, int32 (R, 4), xyxy, 0-based inclusive pixels of the edge map; and scores, float64 (R,), descending.
    """
    groups = group_edges(edges.strength, edges.orientation, s.min_edge, s.max_turn, s.min_group, s.gamma)
    contours = _prepare(edges, groups, s)
    windows = sliding_windows(edges.strength.shape, s.alpha, s.max_aspect, s.min_area)
    boxes, scores = _score_and_refine(contours, windows, s.min_score, _ratio(s.alpha))
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    kept = _suppress(boxes, s.beta, s.max_boxes)
    return boxes[kept], scores[kept]


def _ratio(alpha: float) -> float:
    """Return the step between neighbouring windows with IoU alpha, as a fraction of their side."""
    return (1 - alpha) / (1 + alpha)


def refined_area(settings: EdgeBoxesSettings) -> float:
    """Return the area in pixels of the edge map of the smallest window, after its sides have moved inwards."""
    return settings.min_area * (1 - _ratio(settings.alpha)) ** 2


def sliding_windows(size: tuple[int, int], alpha: float, max_aspect: float, min_area: float) -> NDArray[np.int32]:
    """Generate windows over position, scale and aspect ratio whose neighbours have an IoU of about alpha.

    Args:
        size: (H, W) of the image.
        alpha, max_aspect, min_area: see `EdgeBoxesSettings`.

    Returns:
        int32 (N, 4), xyxy, 0-based inclusive pixels, clipped to the image.
    """
    height, width = size
    scale_step, aspect_step = np.sqrt(1 / alpha), (1 + alpha) / (2 * alpha)
    aspects = int(np.log(max_aspect) / np.log(aspect_step**2))
    scales = int(np.ceil(np.log(max(height, width) / np.sqrt(min_area)) / np.log(scale_step)))
    found = [np.empty((0, 4), np.int32)]
    for scale in np.sqrt(min_area) * scale_step ** np.arange(max(scales, 0)):
        for aspect in aspect_step ** np.arange(-aspects, aspects + 1):
            w, h = int(scale * aspect), int(scale / aspect)
            step_x, step_y = (max(2, int(side * _ratio(alpha))) for side in (w, h))
            lefts, tops = np.arange(0, width - w + step_x, step_x), np.arange(0, height - h + step_y, step_y)
            x, y = (grid.ravel() for grid in np.meshgrid(lefts, tops))
            clipped = np.stack([x, y, np.minimum(x + w, width) - 1, np.minimum(y + h, height) - 1], axis=1)
            found.append(clipped[(clipped[:, 2] > x) & (clipped[:, 3] > y)].astype(np.int32))
    return np.concatenate(found)


class _Contours(NamedTuple):
    """Edge groups, prepared for scoring."""

    inside: NDArray[np.float64]  # (H + 1, W + 1), integral image of group magnitudes, each at the group's pixel
    edges: NDArray[np.float64]  # (H + 1, W + 1), integral image of edge strengths
    row_runs: NDArray[np.int32]  # label of each run of equal labels along the rows, one row after the other
    row_run: NDArray[np.int32]  # (H, W), index into `row_runs` of each pixel's run
    column_runs: NDArray[np.int32]  # the same along the columns
    column_run: NDArray[np.int32]  # (H, W)
    magnitude: NDArray[np.float64]  # this and the following four: see `EdgeGroups`
    pixel: NDArray[np.int32]
    start: NDArray[np.int64]
    neighbour: NDArray[np.int32]
    affinity: NDArray[np.float64]
    scale: NDArray[np.float64]  # factor of the score by (width + height) / 2 of the box


def _prepare(edges: EdgeMap, groups: EdgeGroups, s: EdgeBoxesSettings) -> _Contours:
    """Compute what scoring needs of the edges and groups."""
    height, width = edges.strength.shape
    at = np.zeros((height, width))
    at[groups.pixel[:, 1], groups.pixel[:, 0]] = groups.magnitude
    strong = np.where(groups.labels >= 0, edges.strength, 0)
    rows, row_run = _runs(groups.labels)
    columns, column_run = _runs(np.ascontiguousarray(groups.labels.T))
    lengths = np.maximum(1, np.arange(height + width + 2))
    return _Contours(
        _integral(at), _integral(strong), rows, row_run, columns, np.ascontiguousarray(column_run.T),
        groups.magnitude, groups.pixel, groups.start, groups.neighbour, groups.affinity, lengths ** -s.kappa,
    )  # fmt: skip


def _integral(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the integral image: (H, W) -> (H + 1, W + 1)."""
    return np.pad(values.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))


@numba.njit(nogil=True, cache=True)
def _runs(labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Find the runs of equal labels along the rows: their labels, (n,), and the run of each pixel, (H, W)."""
    height, width = labels.shape
    runs, run_of = np.empty(labels.size, np.int32), np.empty((height, width), np.int32)
    n = 0
    for y in range(height):
        for x in range(width):
            if x == 0 or labels[y, x] != labels[y, x - 1]:
                runs[n] = labels[y, x]
                n += 1
            run_of[y, x] = n - 1
    return runs[:n], run_of


class _Scratch(NamedTuple):
    """Working memory of a search, reused for every box."""

    place: NDArray[np.int32]  # (n,), place of each group in the queue; valid only if the queue has the group there
    queue: NDArray[np.int32]  # groups connected to the border of the box
    weight: NDArray[np.float64]  # strongest path from each group in the queue to the border


@numba.njit(nogil=True, cache=True)
def _score_and_refine(
    contours: _Contours, windows: NDArray[np.int32], min_score: float, ratio: float
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the windows with at least the minimum score, each refined to a local maximum, and their scores."""
    n = len(contours.magnitude)
    scratch = _Scratch(np.zeros(n, np.int32), np.zeros(n + 1, np.int32), np.zeros(n + 1))
    boxes, scores = np.empty_like(windows), np.empty(len(windows))
    found = 0
    for window in windows:
        score = _score(contours, scratch, window[0], window[1], window[2], window[3], min_score)
        if score > 0:
            boxes[found] = window
            scores[found] = _refine(contours, scratch, boxes[found], score, ratio)
            found += 1
    return boxes[:found], scores[:found]


@numba.njit(nogil=True, cache=True)
def _refine(contours: _Contours, scratch: _Scratch, box: NDArray[np.int32], score: float, ratio: float) -> float:
    """Move the sides of a box, in place, by steps that are halved each round, to raise the score; return the score."""
    height, width = contours.row_run.shape
    step = np.array([(box[2] - box[0] + 1) * ratio, (box[3] - box[1] + 1) * ratio]).astype(np.int32)
    trial = box.copy()
    while True:
        step //= 2
        if step[0] <= 2 and step[1] <= 2:
            return score
        for side in (1, 3, 0, 2):  # y first, as the authors do
            move = max(1, step[side % 2])
            outward = -1 if side < 2 else 1
            for sign in (outward, -outward):
                trial[:] = box
                limit = width if side % 2 == 0 else height
                trial[side] = min(max(box[side] + sign * move, 0), limit - 1)
                if trial[0] >= trial[2] or trial[1] >= trial[3] or trial[side] == box[side]:
                    continue
                better = _score(contours, scratch, trial[0], trial[1], trial[2], trial[3], score)
                if better > score:
                    score = better
                    box[:] = trial
                    break


@numba.njit(nogil=True, cache=True)
def _score(contours: _Contours, scratch: _Scratch, x1: int, y1: int, x2: int, y2: int, least: float) -> float:
    """Score a box; return 0 as soon as an upper bound of the score is below `least`."""
    w, h = (x2 - x1 + 1) // 2, (y2 - y1 + 1) // 2
    inside = _sum(contours.inside, x1, y1, x2, y2)
    left, top = x1 + w // 2, y1 + h // 2
    inside -= _sum(contours.edges, left, top, left + w - 1, top + h - 1)
    scale = contours.scale[w + h]
    if inside * scale < least:  # groups that cross the border can only lower the score
        return 0.0
    cut = _cut(contours, scratch, x1, y1, x2, y2)
    inside -= _lost(contours, scratch, 0, cut, x1, y1, x2, y2)
    if inside * scale < least:  # and so can groups connected to them
        return 0.0
    inside -= _lost(contours, scratch, cut, _connect(contours, scratch, cut), x1, y1, x2, y2)
    return inside * scale if inside * scale >= least else 0.0


@numba.njit(nogil=True, cache=True, inline="always")
def _lost(contours: _Contours, scratch: _Scratch, first: int, last: int, x1: int, y1: int, x2: int, y2: int) -> float:
    """Sum the weighted magnitudes of the groups queue[first:last] that lie inside the box."""
    lost = 0.0
    for i in range(first, last):
        group = scratch.queue[i]
        x, y = contours.pixel[group, 0], contours.pixel[group, 1]
        if x1 <= x <= x2 and y1 <= y <= y2:
            lost += scratch.weight[i] * contours.magnitude[group]
    return lost


@numba.njit(nogil=True, cache=True, inline="always")
def _sum(integral: NDArray[np.float64], x1: int, y1: int, x2: int, y2: int) -> float:
    """Sum the pixels of a box by an integral image."""
    return integral[y2 + 1, x2 + 1] - integral[y1, x2 + 1] - integral[y2 + 1, x1] + integral[y1, x1]


@numba.njit(nogil=True, cache=True)
def _cut(contours: _Contours, scratch: _Scratch, x1: int, y1: int, x2: int, y2: int) -> int:
    """Put the groups that cross the border into the queue; return their number."""
    n = 0
    for y in (y1, y2):
        n = _add(contours.row_runs, contours.row_run[y, x1], contours.row_run[y, x2], scratch, n)
    for x in (x1, x2):
        n = _add(contours.column_runs, contours.column_run[y1, x], contours.column_run[y2, x], scratch, n)
    return n


@numba.njit(nogil=True, cache=True)
def _connect(contours: _Contours, scratch: _Scratch, n: int) -> int:
    """Add the groups connected to those in the queue, with the strength of their best path; return the new length."""
    i = 0
    while i < n:
        group, weight = scratch.queue[i], scratch.weight[i]
        again = i + 1
        for k in range(contours.start[group], contours.start[group + 1]):
            path = weight * contours.affinity[k]
            if path < WEAKEST_PATH:
                continue
            other = contours.neighbour[k]
            place = scratch.place[other]
            if place >= n or scratch.queue[place] != other:
                scratch.place[other], scratch.queue[n], scratch.weight[n] = n, other, path
                n += 1
            elif path > scratch.weight[place]:
                scratch.weight[place] = path
                again = min(again, place)  # paths through it may be stronger too
        i = again
    return n


@numba.njit(nogil=True, cache=True, inline="always")
def _add(runs: NDArray[np.int32], first: int, last: int, scratch: _Scratch, n: int) -> int:
    """Add the groups of the runs first..last to the queue; return its new length."""
    for run in range(first, last + 1):
        group = runs[run]
        if group >= 0:
            place = scratch.place[group]
            if place >= n or scratch.queue[place] != group:
                scratch.place[group], scratch.queue[n], scratch.weight[n] = n, group, 1.0
                n += 1
    return n


@numba.njit(nogil=True, cache=True)
def _suppress(boxes: NDArray[np.int32], beta: float, most: int) -> NDArray[np.int64]:
    """Return the indices of boxes, sorted best first, whose IoU with every better kept box is at most beta.

    Two boxes with an IoU above beta have widths and heights within a factor of beta, so only boxes of similar width and
    height are compared.
    """
    kept = np.empty(min(len(boxes), most), np.int64)
    following = np.empty(len(kept), np.int64)  # next kept box of similar size, in a linked list
    step = -np.log(beta)
    bins = int(np.log(1.0 + boxes.max()) / step) + 3 if len(boxes) else 0
    head = np.full((bins, bins), -1, np.int64)
    n = 0
    for i in range(len(boxes)):
        if n == len(kept):
            break
        w, h = boxes[i, 2] - boxes[i, 0] + 1, boxes[i, 3] - boxes[i, 1] + 1
        column, row = int(np.log(w) / step) + 1, int(np.log(h) / step) + 1
        free = True
        for c in range(column - 1, column + 2):
            for r in range(row - 1, row + 2):
                j = head[c, r]
                while j >= 0 and free:
                    free = not _overlap_more(boxes[i], boxes[kept[j]], beta)
                    j = following[j]
        if free:
            kept[n], following[n], head[column, row] = i, head[column, row], n
            n += 1
    return kept[:n]


@numba.njit(nogil=True, cache=True, inline="always")
def _overlap_more(a: NDArray[np.int32], b: NDArray[np.int32], threshold: float) -> bool:
    """Whether the IoU of two boxes is above the threshold."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    if w <= 0 or h <= 0:
        return False
    both = (a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return w * h > threshold * (both - w * h)
