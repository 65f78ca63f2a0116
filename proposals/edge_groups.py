"""Edge groups: pieces of contour, and the affinity of neighbouring pieces.

Pixels of thinned edges are joined with the neighbour of the most similar orientation until the path has turned by a
quarter circle; groups of small magnitude are dissolved into their neighbours.

Source: Zitnick and Dollár, "Edge Boxes: Locating Object Proposals from Edges", ECCV 2014, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

NO_EDGE, FREE = -1, 0  # labels of pixels that are in no group: not on an edge, or not in a group yet
REACH = 2  # px, largest distance between groups with an affinity

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class EdgeGroups:
    """The n groups of an edge map.

    Attributes:
        labels: int32 (H, W), group of each pixel, 0..n-1, or -1 for none.
        magnitude: float64 (n,), sum of the strengths of the group's pixels.
        pixel: int32 (n, 2), x and y of the group's first pixel in raster order, which represents its position.
        start: int64 (n + 1,), the neighbours of group i are neighbour[start[i]:start[i + 1]].
        neighbour: int32 (m,), group indices.
        affinity: float64 (m,), affinity with each neighbour, 0 to 1.
    """

    labels: NDArray[np.int32]
    magnitude: NDArray[np.float64]
    pixel: NDArray[np.int32]
    start: NDArray[np.int64]
    neighbour: NDArray[np.int32]
    affinity: NDArray[np.float64]


def group_edges(
    strength: Floats,
    orientation: Floats,
    min_strength: float = 0.1,
    max_turn: float = 0.5,
    min_magnitude: float = 0.5,
    gamma: float = 2.0,
) -> EdgeGroups:
    """Group the pixels of a thinned edge map.

    Args:
        strength, orientation: float32 (H, W), see `edges.EdgeMap`.
        min_strength: pixels up to this strength are not on an edge (edgeMinMag).
        max_turn: limit of a group's total turn, in half circles (edgeMergeThr).
        min_magnitude: groups up to this magnitude are dissolved (clusterMinMag).
        gamma: exponent of the affinity; a larger one requires a straighter continuation.
    """
    labels = _trace(strength, orientation, min_strength, max_turn)
    _dissolve(labels, strength, orientation, min_magnitude)
    n = _renumber(labels)
    magnitude, pixel, middle, direction = _measure(labels, strength, orientation, n)
    pairs = np.unique(_close_pairs(labels, n))
    a, b = pairs // max(n, 1), pairs % max(n, 1)
    along = np.arctan2(middle[b, 1] - middle[a, 1], middle[b, 0] - middle[a, 0]) + np.pi / 2
    affinity = np.abs(np.cos(direction[a] - along) * np.cos(direction[b] - along)) ** gamma
    source, target = np.concatenate([a, b]), np.concatenate([b, a])
    order = np.lexsort([target, source])
    start = np.searchsorted(source[order], np.arange(n + 1))
    neighbour, affinity = target[order].astype(np.int32), np.concatenate([affinity, affinity])[order]
    return EdgeGroups(labels, magnitude, pixel, start, neighbour, affinity)


@numba.njit(nogil=True, cache=True, inline="always")
def _turn(a: float, b: float) -> float:
    """Return the difference of two orientations in half circles, 0 to 0.5."""
    turn = abs(a - b) / np.pi
    return 1 - turn if turn > 0.5 else turn


@numba.njit(nogil=True, cache=True)
def _trace(strength: Floats, orientation: Floats, min_strength: float, max_turn: float) -> NDArray[np.int32]:
    """Label groups from 1 on; each grows by the pixel of the most similar orientation among all neighbours seen."""
    height, width = strength.shape
    labels = np.full((height, width), NO_EDGE, np.int32)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if strength[y, x] > min_strength:
                labels[y, x] = FREE
    open_y, open_x = np.empty(8 * height * width, np.int32), np.empty(8 * height * width, np.int32)
    open_turn = np.empty(8 * height * width)
    seen = np.zeros((height, width), np.int32)  # the last group that listed this pixel
    group = 0
    for y0 in range(1, height - 1):
        for x0 in range(1, width - 1):
            if labels[y0, x0] != FREE:
                continue
            group += 1
            y, x, turned, listed = y0, x0, 0.0, 0
            while True:
                labels[y, x] = group
                for dy in range(-1, 2):
                    for dx in range(-1, 2):
                        v, u = y + dy, x + dx
                        if labels[v, u] == FREE and seen[v, u] != group:
                            seen[v, u] = group
                            open_y[listed], open_x[listed] = v, u
                            open_turn[listed] = _turn(orientation[y, x], orientation[v, u])
                            listed += 1
                best, least = -1, 2.0
                for i in range(listed):
                    if open_turn[i] < least:
                        best, least = i, open_turn[i]
                if best < 0:
                    break
                turned += least
                if turned >= max_turn:
                    break
                y, x = open_y[best], open_x[best]
                open_turn[best] = 2.0  # taken
    return labels


@numba.njit(nogil=True, cache=True)
def _dissolve(labels: NDArray[np.int32], strength: Floats, orientation: Floats, min_magnitude: float) -> None:
    """Move the pixels of groups of small magnitude to the adjacent group of the most similar orientation, if any."""
    height, width = labels.shape
    magnitude = np.zeros(labels.max() + 2)
    for y in range(height):
        for x in range(width):
            if labels[y, x] > 0:
                magnitude[labels[y, x]] += strength[y, x]
    loose_y, loose_x, loose = np.empty(labels.size, np.int32), np.empty(labels.size, np.int32), 0
    for y in range(height):
        for x in range(width):
            if labels[y, x] > 0 and magnitude[labels[y, x]] <= min_magnitude:
                labels[y, x] = FREE
                loose_y[loose], loose_x[loose] = y, x
                loose += 1
    changed = True
    while changed:
        changed, left = False, 0
        for i in range(loose):
            y, x = loose_y[i], loose_x[i]
            best, least = FREE, 2.0
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    other = labels[y + dy, x + dx]
                    if other > 0:
                        turn = _turn(orientation[y, x], orientation[y + dy, x + dx])
                        if turn < least:
                            best, least = other, turn
            if best != FREE:
                labels[y, x] = best
                changed = True
            else:
                loose_y[left], loose_x[left] = y, x
                left += 1
        loose = left


@numba.njit(nogil=True, cache=True)
def _renumber(labels: NDArray[np.int32]) -> int:
    """Number the groups 0..n-1 in raster order, in place, and set all other labels to -1; return n."""
    number = np.full(labels.max() + 2, -1, np.int32)
    n = 0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label <= 0:
                labels[y, x] = -1
                continue
            if number[label] < 0:
                number[label] = n
                n += 1
            labels[y, x] = number[label]
    return n


@numba.njit(nogil=True, cache=True)
def _measure(
    labels: NDArray[np.int32], strength: Floats, orientation: Floats, n: int
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Return magnitude (n,), first pixel (n, 2), weighted centre (n, 2) and mean orientation (n,) of the groups."""
    magnitude, pixel = np.zeros(n), np.full((n, 2), -1, np.int32)
    middle, doubled = np.zeros((n, 2)), np.zeros((n, 2))
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            i = labels[y, x]
            if i < 0:
                continue
            weight, angle = strength[y, x], 2 * orientation[y, x]
            if pixel[i, 0] < 0:
                pixel[i, 0], pixel[i, 1] = x, y
            magnitude[i] += weight
            middle[i, 0] += weight * x
            middle[i, 1] += weight * y
            doubled[i, 0] += weight * np.cos(angle)
            doubled[i, 1] += weight * np.sin(angle)
    direction = np.empty(n)
    for i in range(n):
        middle[i] /= magnitude[i]
        direction[i] = 0.5 * np.arctan2(doubled[i, 1], doubled[i, 0])
    return magnitude, pixel, middle, direction


@numba.njit(nogil=True, cache=True)
def _close_pairs(labels: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Return a * n + b for groups a < b with pixels at most REACH apart, with duplicates."""
    height, width = labels.shape
    pairs = np.empty(1024, np.int64)
    m = 0
    for y in range(height):
        for x in range(width):
            a = labels[y, x]
            if a < 0:
                continue
            last = -1
            for v in range(max(0, y - REACH), min(height, y + REACH + 1)):
                for u in range(max(0, x - REACH), min(width, x + REACH + 1)):
                    b = labels[v, u]
                    if b > a and b != last:
                        last = b
                        if m == len(pairs):
                            pairs = np.concatenate((pairs, np.empty(m, np.int64)))
                        pairs[m] = np.int64(a) * n + b
                        m += 1
    return pairs[:m]
