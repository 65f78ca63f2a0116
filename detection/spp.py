"""Spatial pyramid pooling of windows: the scale of each window, its cells, and the maxima of its bins.

Stride and centre of cell 0 are properties of the network and arguments here. Cells are 0-based and inclusive; cell i
of a map is centred on pixel center + stride * i of the scaled image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from detection.boxes import area, as_boxes
from detection.config import ScaleRule
from detection.pooling_kernels import finer_level, pool_into

CANONICAL_SIDE = 224  # pixels, input size of the pretrained network; paper section 4.1
RELEASED_SIDE = 13 * 16  # pixels, the 13 cells of an input of 224 pixels times the stride; spm_expected_scale.m

Array = NDArray[np.float32] | torch.Tensor
T = TypeVar("T", np.float32, np.int16)


def choose_scales(
    boxes: ArrayLike, image_size: tuple[int, int], scales: Sequence[int], rule: ScaleRule = "paper"
) -> NDArray[np.int64]:
    """Choose the scale at which each window is closest to the size that the network was trained on.

    Args:
        boxes: (R, 4) xyxy, image pixels.
        image_size: (H, W) in pixels.
        scales: S short sides in pixels.
        rule: "paper": the scaled area is closest to 224 squared (section 4.1). "released": the short side is
            closest to the one at which the window has a side of 208 pixels (utils/spm_pool/spm_expected_scale.m).

    Returns:
        int64 (R,), indices into `scales`; the first of equally close ones.

    Raises:
        ValueError: there are no scales, or the rule is unknown.
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
    """Convert boxes to pixels of the resized images.

    Args:
        boxes: (R, 4) xyxy, image pixels.
        image_size: (H, W) in pixels.
        short_sides: (R,), short side in pixels of the resized image of each box.
        rule: "paper" maps pixel centres as resizing does; "released" maps the first pixel to the first and the last
            to the last (spp_features_convX_to_poolX.m). Both use the same factor for x and y.

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
    """Return the cells of each window.

    Args:
        boxes_scaled: (R, 4) xyxy, pixels of the resized image.
        map_size: (h, w) of the map; or (R, 2), one per window.
        stride: pixels between neighbouring cells.
        center: pixel at the centre of cell 0.
        offset: None: the cells whose centres lie strictly inside the window, or if there is none the cell nearest
            to its middle (paper, appendix). A number: the authors' rounding after the window shrinks by so many
            pixels on each side; crossed bounds are averaged (spm_response_boxes.m).

    Returns:
        int64 (R, 4), inclusive cells x0, y0, x1, y1, clipped to the map, at least one per window.
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
    channels_last: bool = False,
) -> Array:
    """Pool the maximum of every bin of a spatial pyramid on every window.

    Bin i of n on a side of h cells covers cells floor(i h / n) to ceil((i + 1) h / n) - 1 (paper, appendix). No bin
    is empty; on a side of fewer than n cells, bins share cells.

    Args:
        maps: one (C, h, w) map per scale: float32 arrays, or tensors on any device (gradients flow).
        windows: (R, 4), inclusive cells x0, y0, x1, y1.
        scale_index: (R,), the map of each window.
        levels: bins per side of each level, in the order of concatenation.
        out: float32 (R, C * sum(n * n)), array to fill and return, only for maps that are arrays. Allocating new
            memory takes as long as the pooling.
        threads: number of threads, only for maps that are arrays; None: as many as torch uses.
        channels_last: order the values by level, row, column, channel, the order in which the maxima are found; this
            takes two thirds of the time. All SVMs, layers and regressors of this program use that order.

    Returns:
        (R, C * sum(n * n)), array or tensor as `maps`; ordered by level, channel, row, column unless `channels_last`.

    Raises:
        ValueError: a window is not inside its map, or shapes do not match.
    """
    return pool_regions(maps, (windows,), scale_index, (levels,), out, threads, channels_last)


def pool_regions(
    maps: Sequence[Array],
    regions: Sequence[ArrayLike],
    scale_index: ArrayLike,
    pyramids: Sequence[Sequence[int]],
    out: NDArray[np.float32] | None = None,
    threads: int | None = None,
    channels_last: bool = False,
) -> Array:
    """Pool several regions per window, for example the window and a larger one around it, each as `pyramid_pool` does.

    Args:
        maps: one (C, h, w) map per scale: float32 arrays, or tensors on any device (gradients flow).
        regions: N times (R, 4), inclusive cells x0, y0, x1, y1.
        scale_index: (R,), the map of each window.
        pyramids: levels of each of the N regions.
        out, threads, channels_last: as of `pyramid_pool`.

    Returns:
        (R, C * bins), array or tensor as `maps`, the values of the first region first; bins are those of all regions.

    Raises:
        ValueError: a region is not inside its map, or shapes do not match.
    """
    places, index = _checked(maps, regions, scale_index, pyramids)
    tensors = [m for m in maps if isinstance(m, torch.Tensor)]
    if tensors:
        parts = zip(places, pyramids, strict=True)
        return torch.cat([_pool_tensors(tensors, c, index, levels, channels_last) for c, levels in parts], dim=1)
    arrays = [np.asarray(m) for m in maps]
    out = _room(out, arrays[0], index, pyramids, np.float32)
    pool_into(out, arrays, places, index, pyramids, threads, channels_last)
    return out


def bfloat16_keys(map_chw: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return a map in bfloat16 as integers in the same order, which processors compare many at a time.

    Args:
        map_chw: float32 (C, h, w); channels-last memory is fastest.

    Returns:
        int16 (C, h, w), in channels-last memory: of negative numbers, the bits behind the sign are inverted.
    """
    numbers = torch.from_numpy(np.ascontiguousarray(map_chw.transpose(1, 2, 0), np.float32)).bfloat16()
    bits = numbers.view(torch.int16)
    return (bits ^ ((bits >> 15) & 0x7FFF)).numpy().transpose(2, 0, 1)


def pool_bfloat16(
    keys: Sequence[NDArray[np.int16]],
    regions: Sequence[ArrayLike],
    scale_index: ArrayLike,
    pyramids: Sequence[Sequence[int]],
    out: NDArray[np.int16] | None = None,
    threads: int | None = None,
) -> torch.Tensor:
    """Pool several regions per window in bfloat16: the values of `pool_regions`, channels last, rounded.

    Rounding keeps the order, so the maxima of rounded values are the rounded maxima. It takes half of the time, and
    what follows in bfloat16 need not round.

    Args:
        keys: one map (C, h, w) per scale, see `bfloat16_keys`.
        regions, scale_index, pyramids, threads: as of `pool_regions`.
        out: int16 (R, C * bins), memory to use.

    Returns:
        bfloat16 (R, C * bins), on the CPU.

    Raises:
        ValueError: a region is not inside its map, or shapes do not match.
    """
    places, index = _checked(keys, regions, scale_index, pyramids)
    out = _room(out, keys[0], index, pyramids, np.int16)
    pool_into(out, keys, places, index, pyramids, threads, True)
    return torch.from_numpy(out).view(torch.bfloat16)


def _checked(
    maps: Sequence[Any], regions: Sequence[ArrayLike], scale_index: ArrayLike, pyramids: Sequence[Sequence[int]]
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Return the cells of each region, (R, 4) each, and the map of each window, (R,), if they fit the maps."""
    places = [np.asarray(region, np.int64).reshape(-1, 4) for region in regions]
    index = np.asarray(scale_index, np.int64).reshape(-1)
    for cells, levels in zip(places, pyramids, strict=True):
        _check(maps, cells, index, levels)
    return places, index


def _room(
    out: NDArray[T] | None,
    one_map: NDArray[Any],
    index: NDArray[np.int64],
    pyramids: Sequence[Sequence[int]],
    dtype: type[T],
) -> NDArray[T]:
    """Return the given array (R, C * bins) if it has the right shape and type, or a new one."""
    shape = (len(index), len(one_map) * sum(n * n for levels in pyramids for n in levels))
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out: expected {np.dtype(dtype)} {shape}, got {out.dtype} {out.shape}")
    return out


def _check(maps: Sequence[Any], cells: NDArray[np.int64], index: NDArray[np.int64], levels: Sequence[int]) -> None:
    if not maps or any(m.ndim != 3 or m.shape[0] != maps[0].shape[0] for m in maps):
        raise ValueError(f"maps: expected shapes (C, h, w) with the same C, got {[tuple(m.shape) for m in maps]}")
    if not levels or min(levels) < 1:
        raise ValueError(f"levels: expected one or more positive numbers of bins, got {tuple(levels)}")
    if len(index) != len(cells):
        raise ValueError(f"scale_index: expected {len(cells)}, one per window, got {len(index)}")
    if len(index) and (index.min() < 0 or index.max() >= len(maps)):
        raise ValueError(f"scale_index: expected 0 to {len(maps) - 1}, got {index.min()} to {index.max()}")
    sizes = np.array([(m.shape[2], m.shape[1]) for m in maps])[index]  # (R, 2) w, h
    wrong = (cells[:, :2] < 0) | (cells[:, 2:] < cells[:, :2]) | (cells[:, 2:] >= sizes)
    if wrong.any():
        i = int(wrong.any(axis=1).argmax())
        raise ValueError(f"windows: {cells[i].tolist()} in row {i} is not inside its map of (w, h) {tuple(sizes[i])}")


def _pool_tensors(
    maps: Sequence[torch.Tensor],
    cells: NDArray[np.int64],
    index: NDArray[np.int64],
    levels: Sequence[int],
    channels_last: bool,
) -> torch.Tensor:
    """Pool with `roi_pool` over bins computed in integers: exact for every level, differentiable, on any device."""
    order = np.concatenate([np.flatnonzero(index == s) for s in range(len(maps))])
    grids: dict[int, torch.Tensor] = {}  # level -> (R, C, n, n)
    for position in sorted(range(len(levels)), key=lambda i: -levels[i]):
        n, finer = levels[position], finer_level(levels, position)
        if n in grids:
            continue
        if finer >= 0:
            grids[n] = torch.nn.functional.max_pool2d(grids[levels[finer]], levels[finer] // n)
        else:
            grids[n] = torch.cat([_pool_level(m, cells[index == s], n) for s, m in enumerate(maps)])
    axes = (0, 2, 3, 1) if channels_last else (0, 1, 2, 3)
    pooled = [grids[n].permute(axes).flatten(1) for n in levels]  # (R, C * n * n) per level, rows in `order`
    inverse = torch.from_numpy(np.argsort(order)).to(maps[0].device)
    return torch.cat(pooled, dim=1)[inverse]


def _pool_level(map_chw: torch.Tensor, cells: NDArray[np.int64], n: int) -> torch.Tensor:
    """Pool one level of windows (R, 4) on a map (C, h, w), each bin as its own region: (R, C, n, n)."""
    from torchvision.ops import roi_pool  # takes seconds to import; arrays do not need it

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
