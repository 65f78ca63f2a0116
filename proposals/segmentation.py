"""Graph-based image segmentation (Felzenszwalb and Huttenlocher, IJCV 2004).

Pixels are nodes, and edges between neighbouring pixels are weighted by their colour distance. Edges are visited in
ascending order of weight. An edge merges two components if its weight does not exceed the tolerance of either: the
largest weight inside the component plus k / its size. At the end, components below a minimum size are merged with a
neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from proposals.filters import TAP_BITS, correlate, gaussian_taps

SIGMA = 0.8  # px, smoothing before the segmentation; section 5 of IJCV 2004, also in selective search
FRACTION_BITS = 6  # smoothed pixels have a resolution of 1/64 grey level, so squared distances fit 30 bits
ABSENT = np.int32(0x7FFFFFFF)  # squared length of an edge that would leave the image
CODE_MASK = 0xFFFFFFFF
DIGIT_BITS = 11
DIGIT_MASK = (1 << DIGIT_BITS) - 1
FLOAT_ONE = np.int32(127 << 23)  # bits of the float32 1.0
FLOAT_REST = 6  # dropped fraction bits: 23 - 17


@dataclass(frozen=True, eq=False)
class Graph:
    """Edges of an image in ascending order of weight; edges of equal weight in the order of their codes.

    Attributes:
        size: (H, W) of the image.
        edges: int64 (E,), squared << 32 | code. `squared` is the squared colour distance in units of 2**-12 squared
            grey levels. `code` is 4 * pixel + direction, where pixels count row by row and directions are 0 right,
            1 down, 2 down right, 3 down left.
    """

    size: tuple[int, int]
    edges: NDArray[np.int64]


def build_graph(planes: NDArray[np.uint8], sigma: float = SIGMA) -> Graph:
    """Smooth an image and sort the edges between its 8-neighbours.

    Args:
        planes: uint8 (C, H, W), at most three channels.
        sigma: standard deviation of the Gaussian in pixels.
    """
    taps = gaussian_taps(sigma)
    shift = 2 * TAP_BITS - FRACTION_BITS
    smooth = np.stack([correlate(plane, taps, taps) >> shift for plane in planes])  # int32 (C, H, W)
    return Graph((planes.shape[1], planes.shape[2]), _sort(_edges(smooth)))


def segment(graph: Graph, k: float, min_size: int) -> NDArray[np.int32]:
    """Segment an image.

    Args:
        graph: edges of the image, from `build_graph`.
        k: scale of observation; a larger one prefers larger components.
        min_size: components with fewer pixels are merged with the neighbour across their lightest edge.

    Returns:
        int32 (H, W), labels 0..n-1, numbered in raster order.
    """
    height, width = graph.size
    return _segment(graph.edges, height, width, float(k), min_size)


@numba.njit(nogil=True, cache=True)
def _edges(smooth: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the squared length of each edge by its code, ABSENT if there is no second pixel: int32 (4 * H * W,)."""
    channels, height, width = smooth.shape
    squared = np.empty((height, width, 4), np.int32)
    lengths = np.empty((4, width), np.int32)  # squared lengths of one row by direction
    for y in range(height):
        lengths[:] = 0
        for c in range(channels):
            row = smooth[c, y]
            _add_squares(lengths[0, : width - 1], row[: width - 1], row[1:])
            if y + 1 < height:
                below = smooth[c, y + 1]
                _add_squares(lengths[1], row, below)
                _add_squares(lengths[2, : width - 1], row[: width - 1], below[1:])
                _add_squares(lengths[3, 1:], row[1:], below[: width - 1])
        lengths[0, width - 1] = lengths[2, width - 1] = lengths[3, 0] = ABSENT
        if y + 1 == height:
            lengths[1:] = ABSENT
        for x in range(width):
            for direction in range(4):
                squared[y, x, direction] = lengths[direction, x]
    return squared.reshape(-1)


@numba.njit(nogil=True, cache=True, inline="always")
def _add_squares(total: NDArray[np.int32], a: NDArray[np.int32], b: NDArray[np.int32]) -> None:
    """Add the squared differences of a and b to `total`."""
    for x in range(len(total)):
        difference = a[x] - b[x]
        total[x] += difference * difference


@numba.njit(nogil=True, cache=True)
def _sort(squared: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the existing edges as squared << 32 | code, in ascending order.

    Two radix passes sort by the floating-point form of the lengths, which preserves the order up to 18 significant
    bits. An insertion pass then sorts the few long edges that differ in lower bits.
    """
    start = np.zeros((2, (1 << DIGIT_BITS) + 1), np.int64)
    for length in squared:
        if length != ABSENT:
            digits = _digits(length)
            start[0, (digits & DIGIT_MASK) + 1] += 1
            start[1, (digits >> DIGIT_BITS) + 1] += 1
    for i in range(1 << DIGIT_BITS):
        start[0, i + 1] += start[0, i]
        start[1, i + 1] += start[1, i]
    once, twice = np.empty(start[0, -1], np.int64), np.empty(start[0, -1], np.int64)
    for code in range(len(squared)):
        if squared[code] != ABSENT:
            digit = _digits(squared[code]) & DIGIT_MASK
            once[start[0, digit]] = np.int64(squared[code]) << 32 | code
            start[0, digit] += 1
    for edge in once:
        digit = _digits(int(edge >> 32)) >> DIGIT_BITS
        twice[start[1, digit]] = edge
        start[1, digit] += 1
    for i in range(1, len(twice)):
        edge, j = twice[i], i
        while j > 0 and twice[j - 1] > edge:
            twice[j] = twice[j - 1]
            j -= 1
        twice[j] = edge
    return twice


@numba.njit(nogil=True, cache=True, inline="always")
def _digits(length: int) -> int:
    """Return 2 * DIGIT_BITS leading bits of 1 + length < 2**30 as a float: 5 of the exponent, 17 of the fraction."""
    return int(np.float32(length + 1).view(np.int32) - FLOAT_ONE) >> FLOAT_REST


@numba.njit(nogil=True, cache=True)
def _segment(edges: NDArray[np.int64], height: int, width: int, k: float, min_size: int) -> NDArray[np.int32]:
    """Compute the labels; see `segment`. Comparisons avoid branches, which would often be mispredicted."""
    parent = np.full(height * width, -1, np.int32)  # parent of each pixel; for a root, minus its size
    tolerance = np.full(height * width, k)  # of roots: largest inner weight + k / size
    step = np.array([1, width, width + 1, width - 1], np.int32)
    unit = 1.0 / (1 << FRACTION_BITS)
    left = 0  # number of edges at the front of `rest`, which may later merge a small component
    rest = np.empty(len(edges) + 1, np.int32)
    for edge in edges:
        code = int(edge & CODE_MASK)
        pixel = code >> 2
        a, b = _root(parent, pixel), _root(parent, pixel + step[code & 3])
        weight = np.sqrt(edge >> 32) * unit
        apart = a != b
        joined = apart & (weight <= tolerance[a]) & (weight <= tolerance[b])
        rest[left] = code
        left += apart & (not joined) & ((parent[a] > -min_size) | (parent[b] > -min_size))
        if joined:
            root = _join(parent, a, b)
            tolerance[root] = weight - k / parent[root]
    for code in rest[:left]:
        pixel = code >> 2
        a, b = _root(parent, pixel), _root(parent, pixel + step[code & 3])
        if a != b and (parent[a] > -min_size or parent[b] > -min_size):
            _join(parent, a, b)
    return _number(parent).reshape(height, width)


@numba.njit(nogil=True, cache=True, inline="always")
def _root(parent: NDArray[np.int32], pixel: int) -> int:
    """Find the root of a pixel's component, and let the pixel point to it."""
    up = parent[pixel]
    root = pixel if up < 0 else up
    up = parent[root]
    root = root if up < 0 else up
    while parent[root] >= 0:
        root = parent[root]
    parent[pixel] = parent[root] if pixel == root else root
    return root


@numba.njit(nogil=True, cache=True, inline="always")
def _join(parent: NDArray[np.int32], a: int, b: int) -> int:
    """Attach the smaller component to the larger one (b to a if equal); return the new root."""
    if parent[a] > parent[b]:
        a, b = b, a
    parent[a] += parent[b]
    parent[b] = a
    return a


@numba.njit(nogil=True, cache=True)
def _number(parent: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number the components 0..n-1 in raster order: int32 (H * W,)."""
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
