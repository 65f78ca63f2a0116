"""Pooling of arrays by compiled kernels: the maxima of the bins of every window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from detection.parallel import for_each_chunk

ROWS_IN_CACHE = 8  # pooled rows of 16,000 numbers that stay in the cache of a processor


def finer_level(levels: Sequence[int], position: int) -> int:
    """Return the position of the coarsest level whose bins form those of `levels[position]` exactly, or -1.

    The bin edges of n and k n nest, so the maximum of k x k finer bins is the maximum of the coarser bin.
    """
    finer = [i for i, n in enumerate(levels) if n > levels[position] and n % levels[position] == 0]
    return min(finer, key=lambda i: levels[i], default=-1)


def pool_into(
    out: NDArray[Any],
    maps: Sequence[NDArray[Any]],
    places: Sequence[NDArray[np.int64]],
    index: NDArray[np.int64],
    pyramids: Sequence[Sequence[int]],
    threads: int | None,
    channels_last: bool,
) -> None:
    """Pool all regions per window.

    Args:
        out: float32 or int16 (R, C * bins), filled; of int16 keys, with the bits of bfloat16 numbers.
        maps: (C, h, w), one per scale: float32, or int16 keys, see `spp.bfloat16_keys`.
        places: int64 (R, 4) per region, inclusive cells inside their map.
        index: int64 (R,), the map of each window.
        pyramids: levels of each region.
        threads, channels_last: as of `spp.pyramid_pool`; keys are pooled channels last.
    """
    bins = [sum(n * n for n in levels) for levels in pyramids]
    into = out.reshape(len(out), sum(bins), len(maps[0]))
    for i, (cells, levels) in enumerate(zip(places, pyramids, strict=True)):
        _pool_arrays(maps, cells, index, levels, into, sum(bins[:i]), threads, channels_last)


def _pool_arrays(
    maps: Sequence[NDArray[Any]],
    cells: NDArray[np.int64],
    index: NDArray[np.int64],
    levels: Sequence[int],
    out: NDArray[Any],
    start: int,
    threads: int | None,
    channels_last: bool,
) -> None:
    """Pool one region per window into the bins of `out`, (R, bins, C), from number `start` on."""
    sides = np.array(levels, np.int64)
    source = np.array([finer_level(levels, i) for i in range(len(levels))], np.int64)
    for s, map_chw in enumerate(maps):
        rows = np.flatnonzero(index == s)
        map_hwc = np.ascontiguousarray(map_chw.transpose(1, 2, 0), out.dtype)  # one inner loop over all channels

        def work(first: int, last: int, m: NDArray[Any] = map_hwc, r: NDArray[np.int64] = rows) -> None:
            if out.dtype == np.int16:
                _pool_keys_kernel(m, cells, r[first:last], sides, source, out, start)
            else:
                _pool_kernel(m, cells, r[first:last], sides, source, out, start, channels_last)

        for_each_chunk(work, len(rows), threads)


@numba.njit(cache=True, nogil=True)
def _pool_kernel(
    map_hwc: NDArray[Any],
    cells: NDArray[np.int64],
    rows: NDArray[np.int64],
    sides: NDArray[np.int64],
    source: NDArray[np.int64],
    out: NDArray[Any],
    start: int,
    channels_last: bool,
) -> None:
    """Fill bins of `out[rows]`, (R, bins, C): finest levels first, coarser ones from theirs where the edges nest."""
    first = np.full(len(sides) + 1, start, np.int64)
    first[1:] += np.cumsum(sides * sides)
    finest_first = np.argsort(-sides)
    turned = np.empty(out.shape[1:], out.dtype)
    for row in rows:
        bins = out[row] if channels_last else turned
        x0, y0, x1, y1 = cells[row]
        for level in finest_first:
            n, finer = sides[level], source[level]
            into = bins[first[level] : first[level + 1]]
            if finer >= 0:
                m = sides[finer]
                _pool_grid(bins[first[finer] : first[finer + 1]].reshape(m, m, -1), 0, 0, m, m, into, n)
            else:
                _pool_grid(map_hwc, x0, y0, x1 - x0 + 1, y1 - y0 + 1, into, n)
            if not channels_last:
                _transpose(into, out[row, first[level] : first[level + 1]].reshape(-1))


@numba.njit(cache=True, nogil=True)
def _pool_keys_kernel(
    map_hwc: NDArray[np.int16],
    cells: NDArray[np.int64],
    rows: NDArray[np.int64],
    sides: NDArray[np.int64],
    source: NDArray[np.int64],
    out: NDArray[np.int16],
    start: int,
) -> None:
    """Fill bins of `out[rows]` with bits of bfloat16 numbers: the maxima of keys, turned back while in the cache."""
    stop = start + (sides * sides).sum()
    for first in range(0, len(rows), ROWS_IN_CACHE):
        piece = rows[first : first + ROWS_IN_CACHE]
        _pool_kernel(map_hwc, cells, piece, sides, source, out, start, True)
        for row in piece:
            for j in range(start, stop):
                values = out[row, j]
                for c in range(len(values)):
                    values[c] ^= (values[c] >> np.int16(15)) & np.int16(0x7FFF)


@numba.njit(cache=True, nogil=True, inline="always")
def _transpose(bins: NDArray[Any], into: NDArray[Any]) -> None:
    """into[c * count + j] = bins[j, c], twelve j at a time, which the compiler unrolls."""
    count, channels = bins.shape
    j = 0
    while j + 12 <= count:
        for c in range(channels):
            for k in range(12):
                into[c * count + j + k] = bins[j + k, c]
        j += 12
    while j < count:
        for c in range(channels):
            into[c * count + j] = bins[j, c]
        j += 1


@numba.njit(cache=True, nogil=True)
def _pool_grid(grid: NDArray[Any], x0: int, y0: int, w: int, h: int, into: NDArray[Any], n: int) -> None:
    """into[row * n + column] = maximum over the cells of that bin of the window, grid (h, w, C)."""
    for i in range(n):
        for j in range(n):
            maximum, left, right = into[i * n + j], x0 + j * w // n, x0 - (-(j + 1) * w // n)
            top, bottom = y0 + i * h // n, y0 - (-(i + 1) * h // n)
            for y in range(top, bottom):
                for x in range(left, right, 2):
                    _maximum(maximum, grid[y, x], grid[y, min(x + 1, right - 1)], y == top and x == left)


@numba.njit(cache=True, nogil=True, inline="always")
def _maximum(into: NDArray[Any], a: NDArray[Any], b: NDArray[Any], first: bool) -> None:
    """into[c] = maximum of a[c] and b[c] and, unless `first`, of into[c]."""
    for c in range(len(into)):
        larger = a[c] if a[c] > b[c] else b[c]
        into[c] = larger if first or larger > into[c] else into[c]
