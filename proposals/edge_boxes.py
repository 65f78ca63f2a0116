"""EdgeBoxes: boxes that hold whole contours, from edges alone.

Zitnick and Dollár, "Edge Boxes: Locating Object Proposals from Edges", ECCV 2014, and the constants of their
program. A box scores the magnitude of the edge groups inside it, less what is connected to a group that its
border cuts, less the edges of its central part, over a power of its perimeter.
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
from proposals.resize import enlarge, shrink
from proposals.selective_search import MAX_SIDE, MIN_SIDE

WEAKEST_PATH = 0.05  # of affinities multiplied along a path; a weaker one connects nothing
CELL = 32  # px of the grid by which suppression finds boxes of about the same place


@dataclass(frozen=True)
class EdgeBoxesSettings:
    """The constants of the authors' program (edgeBoxes.m), except for `min_side` and `top`, which are the detector's.

    Attributes:
        alpha: IoU of neighbouring windows of the search; larger searches more finely.
        beta: IoU above which a box yields to a better one.
        min_score: boxes below it are dropped.
        max_boxes: the best ones kept.
        min_edge: strength of an edge (edgeMinMag).
        max_turn: half circles a group turns by at most (edgeMergeThr).
        min_group: magnitude of a group (clusterMinMag).
        max_aspect: longer side over shorter.
        min_area: px of a window of the search.
        gamma: power of affinities.
        kappa: power of the perimeter.
        min_side: px; boxes less wide or high are dropped.
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
    """Boxes likely to hold an object, best first, and their scores.

    Args:
        image: uint8, RGB (H, W, 3) or grey (H, W).
        edges: of the image, or of the image downsized to `max_side`; the built-in detector's by default.
        settings: the constants.
        max_side: an image with a longer side is searched at this size, and its boxes are scaled back.

    Returns:
        float32 (R, 4), xyxy, 0-based inclusive image pixels, and float32 (R,), descending.

    Raises:
        ValueError: an argument is not as described.
    """
    settings, image = settings or EdgeBoxesSettings(), as_rgb(image)
    searched = shrink(image, max_side)
    if edges is None:
        edges = detect_edges(searched)
    if edges.strength.shape != searched.shape[:2]:
        raise ValueError(f"edges: expected a map of {searched.shape[:2]}, got {edges.strength.shape}")
    boxes, scores = search(thin(edges), settings)
    boxes_image = enlarge(boxes, searched.shape[:2], image.shape[:2])
    large = (boxes_image[:, 2:] - boxes_image[:, :2] + 1 >= settings.min_side).all(axis=1)
    return boxes_image[large].astype(np.float32), scores[large].astype(np.float32)


def search(edges: EdgeMap, s: EdgeBoxesSettings) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Score, refine and suppress the windows of a thinned edge map: int32 (R, 4) of its pixels, float64 (R,)."""
    groups = group_edges(edges.strength, edges.orientation, s.min_edge, s.max_turn, s.min_group, s.gamma)
    contours = _prepare(edges, groups, s)
    windows = sliding_windows(edges.strength.shape, s.alpha, s.max_aspect, s.min_area)
    boxes, scores = _score_and_refine(contours, windows, s.min_score, _ratio(s.alpha))
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    kept = _suppress(boxes, s.beta, s.max_boxes)
    return boxes[kept], scores[kept]


def _ratio(alpha: float) -> float:
    """Step of a window, of its side, at which the IoU with its neighbour is alpha."""
    return (1 - alpha) / (1 + alpha)


def sliding_windows(size: tuple[int, int], alpha: float, max_aspect: float, min_area: float) -> NDArray[np.int32]:
    """Windows over position, scale and aspect whose neighbours have an IoU of alpha: int32 (N, 4), xyxy, inclusive."""
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
    """Edge groups, laid out for scoring."""

    inside: NDArray[np.float64]  # (H + 1, W + 1) integral of group magnitudes, each at its pixel
    edges: NDArray[np.float64]  # (H + 1, W + 1) integral of edge strengths
    row_runs: NDArray[np.int32]  # labels along the rows without repeats, one row after the other
    row_run: NDArray[np.int32]  # (H, W) of each pixel, where its run is in `row_runs`
    column_runs: NDArray[np.int32]
    column_run: NDArray[np.int32]  # (H, W)
    magnitude: NDArray[np.float64]
    pixel: NDArray[np.int32]
    start: NDArray[np.int64]
    neighbour: NDArray[np.int32]
    affinity: NDArray[np.float64]
    scale: NDArray[np.float64]  # by half the perimeter, in units of 2 px


def _prepare(edges: EdgeMap, groups: EdgeGroups, s: EdgeBoxesSettings) -> _Contours:
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
    """Sums over what is above and to the left: (H, W) -> (H + 1, W + 1)."""
    return np.pad(values.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))


@numba.njit(nogil=True, cache=True)
def _runs(labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Labels of the runs of equal labels along the rows, and (H, W) the run of each pixel."""
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
    """Memory of one search."""

    place: NDArray[np.int32]  # (n,) of a group, its place in the queue of this box, if the queue agrees
    queue: NDArray[np.int32]  # groups met
    weight: NDArray[np.float64]  # strongest path to the border of each


@numba.njit(nogil=True, cache=True)
def _score_and_refine(
    contours: _Contours, windows: NDArray[np.int32], min_score: float, ratio: float
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Windows that score enough, each moved to where it scores most nearby."""
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
    """Move the sides by steps that are halved each time, as long as that helps; changes `box`."""
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
    """Score of a box, 0 if it is below `least`: the sooner that is sure, the cheaper."""
    w, h = (x2 - x1 + 1) // 2, (y2 - y1 + 1) // 2
    inside = _sum(contours.inside, x1, y1, x2, y2)
    left, top = x1 + w // 2, y1 + h // 2
    inside -= _sum(contours.edges, left, top, left + w - 1, top + h - 1)
    scale = contours.scale[w + h]
    if inside * scale < least:  # cut groups can only lower it
        return 0.0
    cut = _cut(contours, scratch, x1, y1, x2, y2)
    inside -= _lost(contours, scratch, 0, cut, x1, y1, x2, y2)
    if inside * scale < least:  # connected ones too
        return 0.0
    inside -= _lost(contours, scratch, cut, _connect(contours, scratch, cut), x1, y1, x2, y2)
    return inside * scale if inside * scale >= least else 0.0


@numba.njit(nogil=True, cache=True, inline="always")
def _lost(contours: _Contours, scratch: _Scratch, first: int, last: int, x1: int, y1: int, x2: int, y2: int) -> float:
    """Magnitude that the groups at these places of the queue take from a box."""
    lost = 0.0
    for i in range(first, last):
        group = scratch.queue[i]
        x, y = contours.pixel[group, 0], contours.pixel[group, 1]
        if x1 <= x <= x2 and y1 <= y <= y2:
            lost += scratch.weight[i] * contours.magnitude[group]
    return lost


@numba.njit(nogil=True, cache=True, inline="always")
def _sum(integral: NDArray[np.float64], x1: int, y1: int, x2: int, y2: int) -> float:
    return integral[y2 + 1, x2 + 1] - integral[y1, x2 + 1] - integral[y2 + 1, x1] + integral[y1, x1]


@numba.njit(nogil=True, cache=True)
def _cut(contours: _Contours, scratch: _Scratch, x1: int, y1: int, x2: int, y2: int) -> int:
    """Put the groups on the border on the queue; their number."""
    n = 0
    for y in (y1, y2):
        n = _add(contours.row_runs, contours.row_run[y, x1], contours.row_run[y, x2], scratch, n)
    for x in (x1, x2):
        n = _add(contours.column_runs, contours.column_run[y1, x], contours.column_run[y2, x], scratch, n)
    return n


@numba.njit(nogil=True, cache=True)
def _connect(contours: _Contours, scratch: _Scratch, n: int) -> int:
    """Put the groups connected to those on the queue there, with the strength of their best path; their number."""
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
                again = min(again, place)  # what it leads to may be stronger too
        i = again
    return n


@numba.njit(nogil=True, cache=True, inline="always")
def _add(runs: NDArray[np.int32], first: int, last: int, scratch: _Scratch, n: int) -> int:
    """Put the groups of a piece of border on the queue."""
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
    """Boxes, best first, of which none has an IoU above beta with a better one.

    Of two such boxes neither side is shorter than beta times the other's, so only boxes of about the same width and
    height are compared.
    """
    kept = np.empty(min(len(boxes), most), np.int64)
    following = np.empty(len(kept), np.int64)  # kept boxes of about a size, as linked lists
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
    """Whether the IoU of two boxes is above a threshold."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    if w <= 0 or h <= 0:
        return False
    both = (a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return w * h > threshold * (both - w * h)
