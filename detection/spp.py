"""Spatial pyramid pooling of windows: which scale, which cells, which maxima.

The stride and the centre of cell 0 belong to the network and are arguments here. Cells are 0-based and
inclusive; cell i of a map is centred on pixel center + stride * i of the scaled image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from detection.boxes import area, as_boxes
from detection.config import ScaleRule
from detection.parallel import for_each_chunk

CANONICAL_SIDE = 224  # pixels: the input size of the pretrained network; paper section 4.1
RELEASED_SIDE = 13 * 16  # pixels: the 13 cells that 224 pixels give, times the stride; spm_expected_scale.m

Array = NDArray[np.float32] | torch.Tensor


def choose_scales(
    boxes: ArrayLike, image_size: tuple[int, int], scales: Sequence[int], rule: ScaleRule = "paper"
) -> NDArray[np.int64]:
    """The scale at which each window is closest to the size the network was trained on.

    Args:
        boxes: (R, 4) xyxy in image pixels.
        image_size: (H, W).
        scales: short sides in pixels.
        rule: "paper": the scaled area closest to 224 squared (section 4.1). "released": the short side
            closest to the one that would make the window 208 pixels (utils/spm_pool/spm_expected_scale.m).

    Returns:
        int64 (R,) indices into `scales`; the first of equally close ones.

    Raises:
        ValueError: no scales, or an unknown rule.
    """
    sides = np.asarray(scales, np.float64)
    if sides.ndim != 1 or len(sides) == 0 or (sides < 1).any():
        raise ValueError(f"scales: expected one or more short sides of at least 1 pixel, got {scales!r}")
    areas = area(boxes)
    short = min(image_size)
    if rule == "paper":
        distance = np.abs(areas[:, None] * (sides / short) ** 2 - CANONICAL_SIDE**2)  # (R, S)
    elif rule == "released":
        expected = np.floor(RELEASED_SIDE * short / np.sqrt(areas) + 0.5)
        distance = np.abs(sides - expected[:, None])  # (R, S)
    else:
        raise ValueError(f"rule: expected 'paper' or 'released', got {rule!r}")
    return distance.argmin(axis=1).astype(np.int64)


def scale_boxes(
    boxes: ArrayLike, image_size: tuple[int, int], short_sides: ArrayLike, rule: ScaleRule = "paper"
) -> NDArray[np.float64]:
    """Boxes in the pixels of the resized images.

    Args:
        boxes: (R, 4) xyxy in image pixels.
        image_size: (H, W).
        short_sides: (R,) short side of the resized image of each box, in pixels.
        rule: "paper" maps pixel centres as resizing does; "released" maps the first and last pixel onto each
            other (spp_features_convX_to_poolX.m). Both scale x and y alike.

    Returns:
        float64 (R, 4).
    """
    b, sides = as_boxes(boxes), np.asarray(short_sides, np.float64)[:, None]
    short = min(image_size)
    if rule == "paper":
        return (b + 0.5) * sides / short - 0.5
    return b * (sides - 1) / (max(short, 2) - 1)


def project(
    boxes_scaled: ArrayLike,
    map_size: ArrayLike,
    stride: int,
    center: float,
    offset: float | None = None,
) -> NDArray[np.int64]:
    """The cells of each window.

    Args:
        boxes_scaled: (R, 4) xyxy in pixels of the resized image.
        map_size: (h, w) of the map, or (R, 2) one a window.
        stride: pixels between cells.
        center: pixel at the centre of cell 0.
        offset: None: the cells whose centres lie strictly inside the window, and if there is none the cell
            nearest to its middle (paper, appendix). A number: the authors' rounding after shrinking the
            window by that many pixels a side; crossed bounds are averaged (spm_response_boxes.m).

    Returns:
        int64 (R, 4) inclusive cells x0, y0, x1, y1 inside the map, never empty.
    """
    b = as_boxes(boxes_scaled)
    sizes = np.broadcast_to(np.asarray(map_size, np.int64), (len(b), 2))
    low, high = b[:, :2], b[:, 2:]  # (R, 2) x, y
    if offset is None:
        first = np.floor((low - center) / stride) + 1
        last = np.ceil((high - center) / stride) - 1
        none = first > last
        nearest = np.floor(((low + high) / 2 - center) / stride + 0.5)
    else:
        first = np.floor((low - center + offset) / stride + 0.5)
        last = np.ceil((high - center - offset) / stride - 0.5)
        none = first > last
        nearest = np.trunc((first + last + 2) / 2) - 1  # C integer division, in 1-based cells
    first, last = np.where(none, nearest, first), np.where(none, nearest, last)
    limits = sizes[:, ::-1] - 1  # (R, 2) x, y
    return np.hstack([np.clip(first, 0, limits), np.clip(last, 0, limits)]).astype(np.int64)


def pyramid_pool(
    maps: Sequence[Array],
    windows: ArrayLike,
    scale_index: ArrayLike,
    levels: Sequence[int] = (1, 2, 3, 6),
    out: NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> Array:
    """Maximum over the bins of a spatial pyramid on every window.

    Bin i of n over a side of h cells covers cells floor(i h / n) to ceil((i + 1) h / n) - 1 (paper,
    appendix), so no bin is empty, and on sides shorter than n bins share cells.

    Args:
        maps: one (C, h, w) map a scale: float32 numpy arrays, or torch tensors of any
            device (gradients flow).
        windows: (R, 4) inclusive cells x0, y0, x1, y1.
        scale_index: (R,) which map each window lies on.
        levels: bins a side, in the order they are concatenated.
        out: float32 (R, C * sum(n * n)) array to fill and return, for maps that are arrays: fresh memory costs as
            much time as the pooling.

    Returns:
        (R, C * sum(n * n)) of the kind of `maps`: level-major, then channel, row, column.

    Raises:
        ValueError: a window reaches outside its map, or the arguments do not fit each other.
    """
    cells = np.asarray(windows, np.int64).reshape(-1, 4)
    index = np.asarray(scale_index, np.int64).reshape(-1)
    _check(maps, cells, index, levels)
    tensors = [m for m in maps if isinstance(m, torch.Tensor)]
    if tensors:
        return _pool_tensors(tensors, cells, index, levels)
    length = maps[0].shape[0] * sum(n * n for n in levels)
    if out is None:
        out = np.empty((len(cells), length), np.float32)
    elif out.shape != (len(cells), length) or out.dtype != np.float32:
        raise ValueError(f"out: expected float32 {(len(cells), length)}, got {out.dtype} {out.shape}")
    return _pool_arrays([np.asarray(m) for m in maps], cells, index, levels, out, threads)


def _check(maps: Sequence[Array], cells: NDArray[np.int64], index: NDArray[np.int64], levels: Sequence[int]) -> None:
    if not maps or any(m.ndim != 3 or m.shape[0] != maps[0].shape[0] for m in maps):
        raise ValueError(f"maps: expected (C, h, w) of one C, got {[tuple(m.shape) for m in maps]}")
    if not levels or min(levels) < 1:
        raise ValueError(f"levels: expected one or more positive numbers of bins, got {tuple(levels)}")
    if len(index) != len(cells):
        raise ValueError(f"scale_index: expected {len(cells)}, one a window, got {len(index)}")
    if len(index) and (index.min() < 0 or index.max() >= len(maps)):
        raise ValueError(f"scale_index: expected 0 to {len(maps) - 1}, got {index.min()} to {index.max()}")
    sizes = np.array([(m.shape[2], m.shape[1]) for m in maps])[index]  # (R, 2) w, h
    wrong = (cells[:, :2] < 0) | (cells[:, 2:] < cells[:, :2]) | (cells[:, 2:] >= sizes)
    if wrong.any():
        i = int(wrong.any(axis=1).argmax())
        raise ValueError(f"windows: {cells[i].tolist()} (row {i}) is not inside its {tuple(sizes[i])} (w, h) map")


def _finer_level(levels: Sequence[int], position: int) -> int:
    """Position of the finest level whose bins unite exactly to those of `levels[position]`, or -1.

    Bin edges of n and k n nest, so a maximum over k x k finer bins is the maximum over the coarse one.
    """
    finer = [i for i, n in enumerate(levels) if n > levels[position] and n % levels[position] == 0]
    return max(finer, key=lambda i: levels[i], default=-1)


def _pool_arrays(
    maps: Sequence[NDArray[np.float32]],
    cells: NDArray[np.int64],
    index: NDArray[np.int64],
    levels: Sequence[int],
    out: NDArray[np.float32],
    threads: int | None,
) -> NDArray[np.float32]:
    sides = np.array(levels, np.int64)
    source = np.array([_finer_level(levels, i) for i in range(len(levels))], np.int64)
    for s, map_chw in enumerate(maps):
        rows = np.flatnonzero(index == s)
        map_hwc = np.ascontiguousarray(map_chw.transpose(1, 2, 0), np.float32)  # channels last: one loop, all channels
        for_each_chunk(
            lambda a, b, m=map_hwc, r=rows: _pool_kernel(m, cells, r[a:b], sides, source, out),  # type: ignore[misc]
            len(rows),
            threads,
        )
    return out


@numba.njit(cache=True, nogil=True)
def _pool_kernel(
    map_hwc: NDArray[np.float32],
    cells: NDArray[np.int64],
    rows: NDArray[np.int64],
    sides: NDArray[np.int64],
    source: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    """Fill `out[rows]`; finest levels first, coarser ones from their bins where they nest."""
    channels = map_hwc.shape[2]
    first_bin = np.zeros(len(sides) + 1, np.int64)
    for level in range(len(sides)):
        first_bin[level + 1] = first_bin[level] + sides[level] * sides[level]
    bins = np.empty((first_bin[-1], channels), np.float32)
    order = np.argsort(-sides)
    for row in rows:
        x0, y0, x1, y1 = cells[row]
        for level in order:
            n, finer = sides[level], source[level]
            at = first_bin[level]
            if finer >= 0:
                _pool_bins(bins, first_bin[finer], sides[finer], bins, at, n)
            else:
                _pool_cells(map_hwc, x0, y0, x1 - x0 + 1, y1 - y0 + 1, bins, at, n)
            _transpose(bins, at, n * n, out[row, at * channels : (at + n * n) * channels])


@numba.njit(cache=True, nogil=True, inline="always")
def _transpose(bins: NDArray[np.float32], at: int, count: int, into: NDArray[np.float32]) -> None:
    """into[c * count + j] = bins[at + j, c]; twelve j at a time, a number that the compiler unrolls."""
    channels = bins.shape[1]
    j = 0
    while j + 12 <= count:
        for c in range(channels):
            for k in range(12):
                into[c * count + j + k] = bins[at + j + k, c]
        j += 12
    while j < count:
        for c in range(channels):
            into[c * count + j] = bins[at + j, c]
        j += 1


@numba.njit(cache=True, nogil=True, inline="always")
def _maximum(into: NDArray[np.float32], values: NDArray[np.float32]) -> None:
    for c in range(len(into)):
        into[c] = values[c] if values[c] > into[c] else into[c]


@numba.njit(cache=True, nogil=True)
def _pool_cells(
    map_hwc: NDArray[np.float32], x0: int, y0: int, w: int, h: int, bins: NDArray[np.float32], at: int, n: int
) -> None:
    """bins[at + row * n + column] = maximum over the cells of that bin."""
    for i in range(n):
        for j in range(n):
            accumulator = bins[at + i * n + j]
            accumulator[:] = -np.inf
            for y in range(y0 + i * h // n, y0 - (-(i + 1) * h // n)):
                for x in range(x0 + j * w // n, x0 - (-(j + 1) * w // n)):
                    _maximum(accumulator, map_hwc[y, x])


@numba.njit(cache=True, nogil=True)
def _pool_bins(source: NDArray[np.float32], first: int, m: int, bins: NDArray[np.float32], at: int, n: int) -> None:
    """The n x n bins from m x m ones, m a multiple of n."""
    k = m // n
    for i in range(n):
        for j in range(n):
            accumulator = bins[at + i * n + j]
            accumulator[:] = -np.inf
            for y in range(i * k, (i + 1) * k):
                for x in range(j * k, (j + 1) * k):
                    _maximum(accumulator, source[first + y * m + x])


def _pool_tensors(
    maps: Sequence[torch.Tensor], cells: NDArray[np.int64], index: NDArray[np.int64], levels: Sequence[int]
) -> torch.Tensor:
    """`roi_pool` over bins computed in integers: exact for any level, differentiable, on any device."""
    order = np.concatenate([np.flatnonzero(index == s) for s in range(len(maps))])
    grids: dict[int, torch.Tensor] = {}  # level -> (R, C, n, n)
    for position in sorted(range(len(levels)), key=lambda i: -levels[i]):
        n, finer = levels[position], _finer_level(levels, position)
        if n in grids:
            continue
        if finer >= 0:
            grids[n] = torch.nn.functional.max_pool2d(grids[levels[finer]], levels[finer] // n)
        else:
            grids[n] = torch.cat([_pool_level(m, cells[index == s], n) for s, m in enumerate(maps)])
    pooled = [grids[n].flatten(1) for n in levels]  # (R, C * n * n) a level, rows in `order`
    inverse = torch.from_numpy(np.argsort(order)).to(maps[0].device)
    return torch.cat(pooled, dim=1)[inverse]


def _pool_level(map_chw: torch.Tensor, cells: NDArray[np.int64], n: int) -> torch.Tensor:
    """(C, h, w), (R, 4) -> (R, C, n, n), each bin a region of its own."""
    from torchvision.ops import roi_pool  # seconds to import, and arrays do without

    i = np.arange(n)
    low, size = cells[:, None, :2], cells[:, None, 2:] - cells[:, None, :2] + 1  # (R, 1, 2) x, y
    starts = low + i[:, None] * size // n  # (R, n, 2)
    ends = low - (-(i[:, None] + 1) * size // n) - 1  # (R, n, 2), inclusive
    regions = np.zeros((len(cells), n, n, 5), np.float32)  # image index 0, x0, y0, x1, y1
    regions[..., 1], regions[..., 3] = starts[:, None, :, 0], ends[:, None, :, 0]
    regions[..., 2], regions[..., 4] = starts[:, :, None, 1], ends[:, :, None, 1]
    rois = torch.from_numpy(regions.reshape(-1, 5)).to(map_chw)
    maxima = roi_pool(map_chw[None], rois, output_size=1)  # (R * n * n, C, 1, 1)
    return maxima.reshape(len(cells), n, n, len(map_chw)).permute(0, 3, 1, 2)
