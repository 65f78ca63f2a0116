"""From an image to pooled window features: the one path that training and testing share.

image --resize, convolve--> FeaturePyramid --choose scale, project--> PlacedWindows --pyramid pool--> pool5
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from detection import image as pixels
from detection import spp
from detection.boxes import clip, enlarge
from detection.cache import FeatureCache
from detection.config import PoolingConfig
from detection.network import ConvBody
from detection.parallel import single_threaded_blas, thread_count, torch_threads
from detection.plain_values import Limits
from detection.plain_values import read as read_values

if TYPE_CHECKING:
    from detection.networks.fc_head import FcFeatures

Scorer: TypeAlias = Callable[[spp.Array], NDArray[np.float32]]
"""Scores (N, K) of features (N, D)."""

BLOCK = 64  # windows pooled at a time by one thread; their pool5 is still in the processor's cache when it is used
TORCH_BLOCK = 256  # the same for work in torch
LARGE_BLOCK = 1024  # windows pooled at a time on a GPU


@dataclass(frozen=True, eq=False)
class FeaturePyramid:
    """The conv5 maps of one image, one per scale.

    Attributes:
        maps: S maps (C, h, w): float32 arrays, or tensors on the network's device. Their values are exact in half
            precision, so that maps read from the cache and freshly computed ones give the same detections.
        scales: S short sides of the resized images, in pixels; those of elongated images are shorter than asked for.
        image_size: (H, W) of the image, in pixels.
        stride: pixels of the resized image between neighbouring cells.
        center: pixel of the resized image at the centre of cell 0.
        mirrored: the maps are those of the mirror image, in which windows lie mirrored.
    """

    maps: Sequence[spp.Array]
    scales: tuple[int, ...]
    image_size: tuple[int, int]
    stride: int
    center: float
    mirrored: bool = False

    @cached_property
    def keys(self) -> list[NDArray[np.int16]]:
        """Maps that are arrays, rounded to bfloat16, see `spp.bfloat16_keys`."""
        return [spp.bfloat16_keys(np.asarray(m)) for m in self.maps]


@dataclass(frozen=True, eq=False)
class Cells:
    """Positions of R windows on a feature pyramid.

    Attributes:
        scale_index: int64 (R,), the map of each window.
        windows: int64 (R, 4), inclusive cells x0, y0, x1, y1 of that map.
        context: int64 (R, N, 4), those of N larger windows around each window; None: there are none.
    """

    scale_index: NDArray[np.int64]
    windows: NDArray[np.int64]
    context: NDArray[np.int64] | None = None

    def unique(self) -> tuple[Cells, NDArray[np.int64]]:
        """Return the U distinct positions, in order of first appearance, and the position of each window, int64 (R,).

        Windows on the same cells at the same scale have the same features.
        """
        keys = np.column_stack([self.scale_index, *self.regions])
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)  # np.unique sorts by key
        rank = np.argsort(order)
        kept = first[order]
        return self[kept], rank[inverse.reshape(-1)]

    @property
    def regions(self) -> tuple[NDArray[np.int64], ...]:
        """What is pooled: the windows, then the larger windows around them, int64 (R, 4) each."""
        return (self.windows, *(() if self.context is None else self.context.swapaxes(0, 1)))

    def __getitem__(self, rows: NDArray[Any] | slice) -> Cells:
        context = None if self.context is None else self.context[rows]
        return Cells(self.scale_index[rows], self.windows[rows], context)


@dataclass(frozen=True, eq=False)
class PlacedWindows:
    """R windows of one image on its feature pyramid; windows on the same cells are pooled once.

    Attributes:
        pyramid: feature maps of the image.
        cells: the U distinct positions of the windows.
        group: int64 (R,), the position of each window, an index into `cells`.
        pooling: the levels of the pyramid pooling.
        fc: fully connected layers that turn pool5 into the features; None: the features are pool5.
    """

    pyramid: FeaturePyramid
    cells: Cells
    group: NDArray[np.int64]
    pooling: PoolingConfig
    fc: FcFeatures | None = None

    def with_fc(self, fc: FcFeatures | None) -> PlacedWindows:
        """Return the same windows with the features of other layers."""
        return replace(self, fc=fc)

    def rows(self, positions: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Return the unscaled features of some positions: float32 (n, D)."""
        pool5 = pool(self.pyramid, self.cells[positions], self.pooling)
        return np.asarray(self.fc(pool5) if self.fc else pool5)

    def scores(self, scorer: Scorer) -> NDArray[np.float32]:
        """Return `scorer` of the unscaled features of every window: float32 (R, K).

        Windows are pooled and scored block by block: pool5 of all of them is never in memory.
        """
        return self.scores_of([(self.fc, scorer)])

    def scores_of(
        self, scorers: Sequence[tuple[FcFeatures | None, Scorer]], gate: float = -np.inf
    ) -> NDArray[np.float32]:
        """Return the scores of several scorers side by side, each of the features of some layers: float32 (R, sum K).

        Args:
            scorers: layers and scorers; the windows are pooled once for all. All layers that are not None compute in
                the same precision.
            gate: windows whose scores by the first scorer are all below it score minus infinity by the others.
        """
        (layers, first), *others = scorers

        def work(pooled: spp.Array) -> NDArray[np.float32]:
            found = first(layers(pooled) if layers else pooled)
            passed = (found >= gate).any(axis=1)
            scores = [found, *(np.full_like(found, -np.inf) for _ in others)]
            if others and passed.any():
                some = pooled[passed] if isinstance(pooled, np.ndarray) else pooled[torch.from_numpy(passed)]
                for mine, (fc, scorer) in zip(scores[1:], others, strict=True):
                    mine[passed] = scorer(fc(some) if fc else some)
            return np.concatenate(scores, axis=1)

        return self.with_fc(next((fc for fc, _ in scorers if fc), None)).of_pooled(work)

    def of_pooled(self, work: Callable[[spp.Array], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return `work` of the pool5 of every window, (N, D) -> (N, ...): float32 (R, ...).

        Args:
            work: called block by block, see `apply_pooled`. With fully connected layers it gets tensors, in the
                precision of these layers.
        """
        dtype = self.fc.dtype_on(torch.device("cpu")) if self.fc else None
        return apply_pooled(work, self.pyramid, self.cells, self.pooling, dtype)[self.group]


class PlacedViews:
    """R windows of one image in several views, for example at two sizes; features are means over the views.

    Args:
        views: the same windows in each view.

    Attributes:
        group: int64 (R,), the position of each window; windows that share it lie on the same cells in every view.
    """

    def __init__(self, views: Sequence[Placed]) -> None:
        self.views = views
        keys = np.stack([view.group for view in views], axis=1)  # (R, V)
        self._positions, inverse = np.unique(keys, axis=0, return_inverse=True)  # (U, V), the position in each view
        self.group: NDArray[np.int64] = inverse.reshape(-1)

    def rows(self, positions: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Return the unscaled features of some positions: float32 (n, D)."""
        in_view = self._positions[positions].T  # (V, n)
        mean: NDArray[np.float32] = np.mean([v.rows(mine) for v, mine in zip(self.views, in_view, strict=True)], axis=0)
        return mean

    def with_fc(self, fc: FcFeatures | None) -> PlacedViews:
        """Return the same windows with the features of other layers."""
        return PlacedViews([view.with_fc(fc) for view in self.views])

    def scores(self, scorer: Scorer) -> NDArray[np.float32]:
        """Return an affine `scorer` of the unscaled features of every window, as `PlacedWindows.scores`."""
        mean: NDArray[np.float32] = np.mean([view.scores(scorer) for view in self.views], axis=0)
        return mean

    def scores_of(
        self, scorers: Sequence[tuple[FcFeatures | None, Scorer]], gate: float = -np.inf
    ) -> NDArray[np.float32]:
        """Return the scores of several affine scorers, as `PlacedWindows.scores_of`; each view has its gate."""
        mean: NDArray[np.float32] = np.mean([view.scores_of(scorers, gate) for view in self.views], axis=0)
        return mean


Placed: TypeAlias = PlacedWindows | PlacedViews


def needed_scales(
    boxes: ArrayLike, image_size: tuple[int, int], pooling: PoolingConfig
) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """Choose the scale of every window and drop the scales that no window uses.

    Args:
        boxes: (R, 4), image pixels.
        image_size: (H, W) in pixels.
        pooling: the scales to choose from and the rule.

    Returns:
        the short sides in use, in pixels, the first of all if there is no window; and int64 (R,), an index into them.
    """
    sides = [pixels.short_side_for(image_size, scale) for scale in pooling.scales]
    chosen = spp.choose_scales(boxes, image_size, sides, pooling.rule)
    used, index = np.unique(chosen, return_inverse=True)
    return tuple(pooling.scales[i] for i in used) or pooling.scales[:1], index


def compute_pyramid(
    image: NDArray[np.uint8], body: ConvBody, scales: Sequence[int], mirrored: bool = False
) -> FeaturePyramid:
    """Run the convolutions once per scale.

    Args:
        image: uint8 RGB (H, W, 3).
        body: the convolutions; the maps lie on their device, on the CPU as numpy arrays.
        scales: short sides in pixels; elongated images are resized to shorter ones, see `image.short_side_for`.
        mirrored: convolve the mirror image.

    Raises:
        ValueError: the image is too small or too elongated for the network.
    """
    size = (image.shape[0], image.shape[1])
    sides = tuple(pixels.short_side_for(size, scale) for scale in scales)
    if sides != tuple(scales) and min(sides) < body.min_input:
        raise ValueError(f"image of {size[1]} x {size[0]} pixels: too elongated for {body.name}; crop it")
    image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
    maps = [body.conv5(pixels.resize_short_side(image, side)).half().float() for side in sides]
    if body.device.type == "cpu":
        return FeaturePyramid([m.numpy() for m in maps], sides, size, body.stride, body.center, mirrored)
    return FeaturePyramid(maps, sides, size, body.stride, body.center, mirrored)


def locate(
    pyramid: FeaturePyramid, boxes: ArrayLike, pooling: PoolingConfig, scale_index: NDArray[np.int64] | None = None
) -> Cells:
    """Return the map and the cells of every window.

    Args:
        pyramid: feature maps of the image.
        boxes: (R, 4), image pixels.
        pooling: how windows are scaled and projected.
        scale_index: (R,), the map of each window; None: the one that the pooling rule chooses.
    """
    size, index = pyramid.image_size, scale_index
    if index is None:
        index = spp.choose_scales(boxes, size, pyramid.scales, pooling.rule)
    sides = np.asarray(pyramid.scales)[index]
    map_sizes = np.array([m.shape[1:] for m in pyramid.maps])[index]

    def cells_of(region: ArrayLike) -> NDArray[np.int64]:
        scaled = spp.scale_boxes(region, size, sides, pooling.rule)
        return spp.project(scaled, map_sizes, pyramid.stride, pyramid.center, pooling.offset)

    if not pooling.context:
        return Cells(index, cells_of(boxes))
    around = [cells_of(clip(enlarge(boxes, factor), size)) for factor in pooling.context]
    return Cells(index, cells_of(boxes), np.stack(around, axis=1))


def place(
    pyramid: FeaturePyramid,
    boxes: ArrayLike,
    pooling: PoolingConfig,
    scale_index: NDArray[np.int64] | None = None,
    fc: FcFeatures | None = None,
) -> PlacedWindows:
    """Locate windows and find those on the same cells; arguments as of `locate` and `PlacedWindows`."""
    cells, group = locate(pyramid, boxes, pooling, scale_index).unique()
    return PlacedWindows(pyramid, cells, group, pooling, fc)


def pool(
    pyramid: FeaturePyramid,
    cells: Cells,
    pooling: PoolingConfig,
    out: NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> spp.Array:
    """Pool R windows, and the larger windows around them if there are any.

    Args:
        pyramid: feature maps of the image.
        cells: positions of the windows, see `locate`.
        pooling: the levels.
        out: float32 (R, C * bins), array to fill and return, only for maps that are arrays.
        threads: number of threads, only for maps that are arrays; None: as many as torch uses.

    Returns:
        pool5, (R, C * bins), array or tensor as the maps: windows first, the channels of a bin together.
    """
    return spp.pool_regions(pyramid.maps, cells.regions, cells.scale_index, pooling.pyramids, out, threads, True)


def apply_pooled(
    work: Callable[[spp.Array], NDArray[np.float32]],
    pyramid: FeaturePyramid,
    cells: Cells,
    pooling: PoolingConfig,
    dtype: torch.dtype | None = None,
) -> NDArray[np.float32]:
    """Call `work` on the pool5 of R windows block by block, so that pool5 of all of them is never in memory.

    Several threads call it at once, with BLAS and torch limited to one thread each; for maps on a GPU, the caller does.

    Args:
        work: (N, D) -> float32 (N, ...), row by row; it must not keep its argument, whose memory is reused.
        pyramid: feature maps of the image.
        cells: positions of R windows.
        pooling: the levels of the pyramid pooling.
        dtype: `work` computes with torch, for which larger blocks are faster, on tensors of float32 or bfloat16; None:
            on float32 arrays. On a GPU it gets float32 tensors.

    Returns:
        float32 (R, ...).
    """
    count, length = len(cells.windows), len(pyramid.maps[0]) * pooling.bins
    on_gpu, in_torch = isinstance(pyramid.maps[0], torch.Tensor), dtype is not None
    size = LARGE_BLOCK if on_gpu else TORCH_BLOCK if in_torch else BLOCK
    keys = pyramid.keys if dtype == torch.bfloat16 and not on_gpu else None
    memory, starts = threading.local(), range(0, max(count, 1), size)  # without windows one empty block

    def block(start: int) -> NDArray[np.float32]:
        part = cells[slice(start, start + size)]
        if on_gpu:
            return work(pool(pyramid, part, pooling))
        if not hasattr(memory, "rows"):
            memory.rows = np.empty((min(size, count), length), np.int16 if keys else np.float32)
        rows = memory.rows[: len(part.windows)]
        if keys:
            return work(spp.pool_bfloat16(keys, part.regions, part.scale_index, pooling.pyramids, rows, threads=1))
        pooled = pool(pyramid, part, pooling, rows, threads=1)
        return work(torch.as_tensor(pooled) if in_torch else pooled)

    if on_gpu:
        return np.concatenate([block(start) for start in starts])
    threads = torch_threads if in_torch else ThreadPoolExecutor
    with single_threaded_blas(), threads(min(thread_count(), len(starts))) as workers:
        return np.concatenate(list(workers.map(block, starts)))


def cache_manifest(
    body: ConvBody, scales: Sequence[int], preset: str = "paper", mirrored: bool = False
) -> dict[str, Any]:
    """Return everything that decides what a cached map holds, and the preset that later stages use.

    Args:
        body: the convolutions.
        scales: short sides in pixels.
        preset: name of the preset.
        mirrored: the maps are those of the mirrored photos.
    """
    settings = {
        "network": body.name,
        "weights": body.weights_hash,
        "scales": list(scales),
        "preset": preset,
        "stride": body.stride,
        "center": body.center,
        "preprocessing": asdict(body.preprocessing),
        "resize": "uint8, bilinear without antialiasing, long side rounded up",
    }
    if body.precision != "fp32":
        settings["precision"] = body.precision
    if mirrored:
        settings["mirrored"] = True
    return settings


def store_pyramid(cache: FeatureCache, image_id: str, pyramid: FeaturePyramid) -> None:
    """Write the maps of one image to the cache.

    Raises:
        OSError: the file cannot be written; nothing of it is left behind.
        ValueError: a value is not finite in half precision.
    """
    maps = [m.cpu().numpy() if isinstance(m, torch.Tensor) else m for m in pyramid.maps]
    meta = {"image_size": list(pyramid.image_size)}
    if list(pyramid.scales) != cache.manifest["scales"]:  # of an elongated image
        meta["scales"] = list(pyramid.scales)
    cache.write(image_id, maps, meta)


_Side = Annotated[int, Limits(1, 2**20)]  # pixels
_GEOMETRY = {"image_size": tuple[_Side, _Side], "scales": tuple[_Side, ...], "stride": _Side, "center": float}
"""What a cache says of the maps of a photo."""


def load_pyramid(cache: FeatureCache, image_id: str) -> FeaturePyramid:
    """Read the maps of one image from the cache, as float32 arrays.

    Raises:
        OSError, ValueError: the file is absent or damaged.
    """
    maps, meta = cache.read(image_id)
    stated = {"scales": cache.manifest.get("scales"), **meta}
    stated |= {name: cache.manifest.get(name) for name in ("stride", "center")}
    try:
        found = {name: read_values(kind, stated.get(name), name) for name, kind in _GEOMETRY.items()}
        if len(found["scales"]) != len(maps):
            raise ValueError(f"expected maps of {len(found['scales'])} scales, got {len(maps)}")
    except ValueError as error:
        remedy = "delete the folder and run `sppnet stage extract-features`"
        raise ValueError(f"{cache.path(image_id)}: not the maps of a photo ({error}); {remedy}") from None
    mirrored = cache.manifest.get("mirrored", False)
    return FeaturePyramid([m.astype(np.float32) for m in maps], **found, mirrored=mirrored)
