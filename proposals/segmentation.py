"""Graph-based image segmentation (Felzenszwalb and Huttenlocher, IJCV 2004).

Pixels are the nodes, neighbouring pixels are joined by edges weighted with their colour distance. Edges are
visited lightest first; two components become one when the edge is no heavier than what either tolerates:
the heaviest edge inside it plus k / its size. Components under a minimum size join a neighbour at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from proposals.filters import TAP_BITS, correlate, gaussian_taps

SIGMA = 0.8  # smoothing before the segmentation; section 5 of IJCV 2004, kept by selective search
FRACTION_BITS = 6  # smoothed pixels keep 1/64 grey level: squared distances then fit 30 bits
DIGIT_BITS = 10  # three radix passes


@dataclass(frozen=True, eq=False)
class Graph:
    """Edges of an image, lightest first; edges of one weight in the order of their codes.

    Attributes:
        size: (H, W) of the image.
        squared: int32 (E,), squared colour distances in units of 2**-12 squared grey levels.
        codes: int32 (E,), 4 * pixel + direction: 0 to the right, 1 down, 2 down right, 3 down left; pixels
            count row by row.
    """

    size: tuple[int, int]
    squared: NDArray[np.int32]
    codes: NDArray[np.int32]


def build_graph(planes: NDArray[np.uint8], sigma: float = SIGMA) -> Graph:
    """Smooth an image and sort the edges between its 8-neighbours.

    Args:
        planes: uint8 (C, H, W), at most three channels.
        sigma: of the Gaussian, in pixels.
    """
    taps = gaussian_taps(sigma)
    shift = 2 * TAP_BITS - FRACTION_BITS
    smooth = np.stack([correlate(plane, taps, taps) >> shift for plane in planes])  # int32 (C, H, W)
    squared, codes = _radix_sort(*_edges(smooth))
    return Graph((planes.shape[1], planes.shape[2]), squared, codes)


def segment(graph: Graph, k: float, min_size: int) -> NDArray[np.int32]:
    """Segment an image.

    Args:
        graph: from `build_graph`.
        k: scale of observation; larger prefers larger components.
        min_size: smaller components, in pixels, join the neighbour across their lightest edge.

    Returns:
        int32 (H, W), labels 0..n-1 in the order in which a reader of the rows meets them.
    """
    height, width = graph.size
    return _segment(graph.squared, graph.codes, height, width, float(k), min_size)


@numba.njit(nogil=True, cache=True)
def _edges(smooth: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Squared lengths and codes of all edges, in the order of their codes."""
    channels, height, width = smooth.shape
    squared = np.zeros(4 * height * width, np.int32)
    codes = np.empty(4 * height * width, np.int32)
    e = 0
    for y in range(height):
        for x in range(width):
            for direction in range(4):
                y2, x2 = y + min(direction, 1), x + (1, 0, 1, -1)[direction]
                if y2 == height or x2 == width or x2 < 0:
                    continue
                for c in range(channels):
                    difference = smooth[c, y, x] - smooth[c, y2, x2]
                    squared[e] += difference * difference
                codes[e] = 4 * (y * width + x) + direction
                e += 1
    return squared[:e], codes[:e]


@numba.njit(nogil=True, cache=True)
def _radix_sort(keys: NDArray[np.int32], values: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Both arrays in the order of the keys, non-negative and below 2**30; stable."""
    buckets = 1 << DIGIT_BITS
    for digit in range(3):
        shift = digit * DIGIT_BITS
        start = np.zeros(buckets + 1, np.int64)
        for key in keys:
            start[((key >> shift) & (buckets - 1)) + 1] += 1
        start = np.cumsum(start)
        sorted_keys, sorted_values = np.empty_like(keys), np.empty_like(values)
        for i in range(len(keys)):
            bucket = (keys[i] >> shift) & (buckets - 1)
            sorted_keys[start[bucket]] = keys[i]
            sorted_values[start[bucket]] = values[i]
            start[bucket] += 1
        keys, values = sorted_keys, sorted_values
    return keys, values


@numba.njit(nogil=True, cache=True)
def _segment(
    squared: NDArray[np.int32], codes: NDArray[np.int32], height: int, width: int, k: float, min_size: int
) -> NDArray[np.int32]:
    """The labels; see `segment`."""
    parent = np.arange(height * width).astype(np.int32)
    size = np.ones(height * width, np.int32)
    tolerance = np.full(height * width, k)  # heaviest inner edge + k / size, of roots
    unit = 1.0 / (1 << FRACTION_BITS)
    left = 0  # edges still between two components, kept at the front of `rest`
    rest = np.empty_like(codes)
    for e in range(len(codes)):
        a, b = _ends(parent, codes[e], width)
        if a == b:
            continue
        weight = np.sqrt(squared[e]) * unit
        if weight <= tolerance[a] and weight <= tolerance[b]:
            root = _join(parent, size, a, b)
            tolerance[root] = weight + k / size[root]
        else:
            rest[left] = codes[e]
            left += 1
    for code in rest[:left]:
        a, b = _ends(parent, code, width)
        if a != b and (size[a] < min_size or size[b] < min_size):
            _join(parent, size, a, b)
    return _number(parent).reshape(height, width)


@numba.njit(nogil=True, cache=True)
def _ends(parent: NDArray[np.int32], code: int, width: int) -> tuple[int, int]:
    """Roots of the components at both ends of an edge."""
    pixel = code >> 2
    step = (1, width, width + 1, width - 1)[code & 3]
    return _root(parent, pixel), _root(parent, pixel + step)


@numba.njit(nogil=True, cache=True)
def _root(parent: NDArray[np.int32], pixel: int) -> int:
    while parent[pixel] != pixel:
        parent[pixel] = parent[parent[pixel]]
        pixel = parent[pixel]
    return pixel


@numba.njit(nogil=True, cache=True)
def _join(parent: NDArray[np.int32], size: NDArray[np.int32], a: int, b: int) -> int:
    """Hang the smaller component under the larger one (b under a if equal); the new root."""
    if size[a] < size[b]:
        a, b = b, a
    parent[b] = a
    size[a] += size[b]
    return a


@numba.njit(nogil=True, cache=True)
def _number(parent: NDArray[np.int32]) -> NDArray[np.int32]:
    """Labels 0..n-1 in the order of first appearance."""
    of_root = np.full(len(parent), -1, np.int32)
    labels = np.empty(len(parent), np.int32)
    n = 0
    for pixel in range(len(parent)):
        root = _root(parent, pixel)
        if of_root[root] < 0:
            of_root[root] = n
            n += 1
        labels[pixel] = of_root[root]
    return labels
