"""Hierarchical grouping: the two most similar neighbours merge, until one region covers the image.

Similarities are integers, the sum of up to four measures of 0..ONE each (IJCV 2013, section 3.2):

* colour, texture: intersection of the normalised histograms;
* size: fraction of the image that the two regions do not cover, so that small regions merge early;
* fill: one minus the fraction of the image that is inside their common bounding box but in neither region.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from proposals.regions import COLOUR_BINS, TEXTURE_BINS, Regions

SIMILARITY_BITS = 20
ONE = 1 << SIMILARITY_BITS
ID_BITS = 20  # dissimilarity (23 bits), first and second region form one key of 63 bits
ID_MASK = (1 << ID_BITS) - 1


class _Pool(NamedTuple):
    """All N = 2 n - 1 regions of a hierarchy. A merged region reuses the histogram row of one of its parts."""

    size: NDArray[np.int32]  # (N,), number of pixels
    box: NDArray[np.int32]  # (N, 4)
    parent: NDArray[np.int32]  # (N,), the region each was merged into; the last one is its own parent
    row: NDArray[np.int32]  # (N,), row of each region in the two histogram arrays
    counts: NDArray[np.int32]  # (n, D), pixels in each bin of the histograms in use, colour before texture
    shares: NDArray[np.int32]  # (n, D), the counts normalised to a sum of ONE for colour and for texture
    weights: NDArray[np.float64]  # (D,), counts * weights / size = shares
    pixels: int  # number of pixels in the image
    use_size: bool
    use_fill: bool


def group(regions: Regions, measures: str) -> NDArray[np.int32]:
    """Return the boxes of all regions of a hierarchy, in order of creation.

    Of equally similar pairs, the one with the smaller lower number merges first, then the one with the smaller higher
    number.

    Args:
        regions: the n connected regions to start from.
        measures: similarity measures to add, letters out of "CTSF": colour, texture, size, fill.

    Returns:
        int32 (2 n - 1, 4), xyxy, 0-based inclusive pixels: the n initial regions, then each merged one; the last is the
        whole image.

    Raises:
        ValueError: there are more than 2**19 regions.
    """
    return _grouped(regions, measures).box


def merge_tree(regions: Regions, measures: str) -> NDArray[np.int32]:
    """Return the parent of each region of a hierarchy; regions are numbered as in `group`.

    Regions are numbered in the order of merging: the first m merges create regions n to n + m - 1.

    Args:
        regions: the n connected regions to start from.
        measures: as for `group`.

    Returns:
        int32 (2 n - 1,), the region that each was merged into, always a larger number; the last is its own parent.

    Raises:
        ValueError: there are more than 2**19 regions.
    """
    return _grouped(regions, measures).parent


def _grouped(regions: Regions, measures: str) -> _Pool:
    """Build the whole hierarchy; see `group`."""
    n = len(regions.sizes)
    if 2 * n > 1 << ID_BITS:
        raise ValueError(f"regions: expected at most {1 << (ID_BITS - 1)}, got {n}")
    used = [
        (counts, bins)
        for letter, counts, bins in (
            ("C", regions.colour, COLOUR_BINS),
            ("T", regions.texture, TEXTURE_BINS),
        )
        if letter in measures
    ]
    counts = np.hstack([c for c, _ in used] or [np.empty((n, 0), np.int32)])  # (n, D)
    weights = [np.full(c.shape[1], ONE * bins / c.shape[1]) for c, bins in used]
    pool = _Pool(
        size=np.concatenate([regions.sizes, np.zeros(n - 1, np.int32)]),
        box=np.concatenate([regions.boxes, np.zeros((n - 1, 4), np.int32)]),
        parent=np.arange(2 * n - 1, dtype=np.int32),
        row=np.arange(2 * n - 1, dtype=np.int32),
        counts=counts,
        shares=np.zeros_like(counts),
        weights=np.concatenate([*weights, np.empty(0)]),
        pixels=regions.image_size[0] * regions.image_size[1],
        use_size="S" in measures,
        use_fill="F" in measures,
    )
    _group(pool, regions.neighbours)
    return pool


@numba.njit(nogil=True, cache=True)
def _group(pool: _Pool, neighbours: NDArray[np.int32]) -> None:
    """Create the merged regions of the pool, n onwards."""
    total = len(pool.size)
    n = (total + 1) // 2
    for region in range(n):
        _normalise(pool, region)
    owner = np.arange(total)  # the region that each was merged into, itself if not merged
    head, region_of, following = _chains(neighbours, total)
    seen_by = np.full(total, -1)
    heap = [_key(pool, a, b) for a, b in neighbours]
    heapq.heapify(heap)
    for new in range(n, total):
        a, b = _pop_alive(heap, owner)
        _merge(pool, a, b, new)
        owner[a] = owner[b] = pool.parent[a] = pool.parent[b] = new
        for old in (a, b):
            node = head[old]
            while node >= 0:
                after = following[node]
                other = _alive(owner, region_of[node])
                if other != new and seen_by[other] != new:
                    seen_by[other] = new
                    region_of[node], following[node] = other, head[new]
                    head[new] = node
                    heapq.heappush(heap, _key(pool, other, new))
                node = after


@numba.njit(nogil=True, cache=True)
def _chains(
    neighbours: NDArray[np.int32], total: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Build one linked list of neighbours per region: first node (total,), and neighbour and next node of each node."""
    head = np.full(total, -1, np.int32)
    region_of = np.empty(2 * len(neighbours), np.int32)
    following = np.empty(2 * len(neighbours), np.int32)
    for i in range(len(neighbours)):
        for side in range(2):
            node, region = 2 * i + side, neighbours[i, side]
            region_of[node] = neighbours[i, 1 - side]
            following[node], head[region] = head[region], node
    return head, region_of, following


@numba.njit(nogil=True, cache=True)
def _alive(owner: NDArray[np.int64], region: int) -> int:
    """Return the current region that contains `region`."""
    while owner[region] != region:
        owner[region] = owner[owner[region]]
        region = owner[region]
    return region


@numba.njit(nogil=True, cache=True)
def _pop_alive(heap: list[int], owner: NDArray[np.int64]) -> tuple[int, int]:
    """Pop the most similar pair of regions that are both not merged yet."""
    while True:
        key = heapq.heappop(heap)
        a, b = (key >> ID_BITS) & ID_MASK, key & ID_MASK
        if owner[a] == a and owner[b] == b:
            return a, b


@numba.njit(nogil=True, cache=True)
def _key(pool: _Pool, a: int, b: int) -> int:
    """Return the heap key of a pair a < b: the most similar pair is smallest, ties are in the order of a, then b."""
    dissimilarity = 4 * ONE - _similarity(pool, a, b)
    return int((dissimilarity << (2 * ID_BITS)) | (np.int64(a) << ID_BITS) | np.int64(b))


@numba.njit(nogil=True, cache=True)
def _similarity(pool: _Pool, a: int, b: int) -> int:
    """Add up the similarity measures of two regions."""
    shares_a, shares_b = pool.shares[pool.row[a]], pool.shares[pool.row[b]]
    shared = np.int32(0)
    for i in range(len(shares_a)):
        shared = np.int32(shared + min(shares_a[i], shares_b[i]))
    similarity = np.int64(shared)
    covered = np.int64(pool.size[a]) + pool.size[b]
    if pool.use_size:
        similarity += ONE - covered * ONE // pool.pixels
    if pool.use_fill:
        x1, y1 = min(pool.box[a, 0], pool.box[b, 0]), min(pool.box[a, 1], pool.box[b, 1])
        x2, y2 = max(pool.box[a, 2], pool.box[b, 2]), max(pool.box[a, 3], pool.box[b, 3])
        around = np.int64(x2 - x1 + 1) * (y2 - y1 + 1)
        similarity += ONE - (around - covered) * ONE // pool.pixels
    return int(similarity)


@numba.njit(nogil=True, cache=True)
def _merge(pool: _Pool, a: int, b: int, new: int) -> None:
    """Create region `new` from a and b."""
    pool.size[new] = pool.size[a] + pool.size[b]
    for side in range(2):
        pool.box[new, side] = min(pool.box[a, side], pool.box[b, side])
        pool.box[new, side + 2] = max(pool.box[a, side + 2], pool.box[b, side + 2])
    pool.row[new] = pool.row[a]
    pool.counts[pool.row[a]] += pool.counts[pool.row[b]]
    _normalise(pool, new)


@numba.njit(nogil=True, cache=True)
def _normalise(pool: _Pool, region: int) -> None:
    """Update a region's histogram shares from its counts."""
    counts, shares = pool.counts[pool.row[region]], pool.shares[pool.row[region]]
    per_pixel = 1.0 / pool.size[region]
    for i in range(len(counts)):
        shares[i] = np.int32(counts[i] * pool.weights[i] * per_pixel)
