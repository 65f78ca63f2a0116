"""From an image to pooled window features: the one path that training and testing share.

image --resize, convolve--> FeaturePyramid --choose scale, project--> cells --pyramid pool--> pool5
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from detection import image as pixels
from detection import spp
from detection.cache import FeatureCache
from detection.config import PoolingConfig
from detection.network import ConvBody
from detection.parallel import single_threaded_blas, thread_count

BLOCK = 64  # windows that one thread pools at a time: their pool5 is still in the processor's cache when it is used
LARGE_BLOCK = 1024  # for work that is done by many threads, or on a GPU


@dataclass(frozen=True, eq=False)
class FeaturePyramid:
    """The conv5 maps of one image.

    Attributes:
        maps: one (C, h, w) map a scale: float32 arrays, or tensors on the network's device. Values are exact
            in half precision, so that maps read from the cache and fresh ones give the same detections.
        scales: short side in pixels of the resized image of each map.
        image_size: (H, W) of the image.
        stride: pixels between cells of the resized image.
        center: its pixel at the centre of cell 0.
    """

    maps: Sequence[spp.Array]
    scales: tuple[int, ...]
    image_size: tuple[int, int]
    stride: int
    center: float


@dataclass(frozen=True, eq=False)
class Cells:
    """Where windows lie on a pyramid.

    Attributes:
        scale_index: int64 (R,), which map.
        windows: int64 (R, 4), inclusive cells x0, y0, x1, y1 of that map.
    """

    scale_index: NDArray[np.int64]
    windows: NDArray[np.int64]

    def unique(self) -> tuple[Cells, NDArray[np.int64]]:
        """The different windows, in order of first appearance, and int64 (R,) which of them each row is.

        Windows on the same cells at the same scale have the same features.
        """
        keys = np.column_stack([self.scale_index, self.windows])
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)  # np.unique sorts by key
        rank = np.argsort(order)
        kept = first[order]
        return Cells(self.scale_index[kept], self.windows[kept]), rank[inverse.reshape(-1)]

    def __getitem__(self, rows: NDArray[Any] | slice) -> Cells:
        return Cells(self.scale_index[rows], self.windows[rows])


def compute_pyramid(image: NDArray[np.uint8], body: ConvBody, scales: Sequence[int]) -> FeaturePyramid:
    """Run the convolutions once a scale.

    Args:
        image: uint8 RGB (H, W, 3).
        body: the convolution layers; they say which device the maps lie on.
        scales: short sides in pixels.
    """
    maps = [body.conv5(pixels.resize_short_side(image, s)).half().float() for s in scales]
    size = (image.shape[0], image.shape[1])
    if body.device.type == "cpu":
        return FeaturePyramid([m.numpy() for m in maps], tuple(scales), size, body.stride, body.center)
    return FeaturePyramid(maps, tuple(scales), size, body.stride, body.center)


def locate(
    pyramid: FeaturePyramid, boxes: ArrayLike, pooling: PoolingConfig, scale_index: NDArray[np.int64] | None = None
) -> Cells:
    """The scale and the cells of every box: (R, 4) image pixels -> Cells of R windows.

    `scale_index` (R,) puts the boxes on given scales instead of those the pooling rule picks.
    """
    index = scale_index
    if index is None:
        index = spp.choose_scales(boxes, pyramid.image_size, pyramid.scales, pooling.rule)
    sides = np.asarray(pyramid.scales)[index]
    boxes_scaled = spp.scale_boxes(boxes, pyramid.image_size, sides, pooling.rule)
    map_sizes = np.array([m.shape[1:] for m in pyramid.maps])[index]
    windows = spp.project(boxes_scaled, map_sizes, pyramid.stride, pyramid.center, pooling.offset)
    return Cells(index, windows)


def pool(pyramid: FeaturePyramid, cells: Cells, levels: Sequence[int]) -> spp.Array:
    """pool5 of R windows: (R, C * sum(n * n)), the channels of a bin together, of the kind of the pyramid's maps."""
    return spp.pyramid_pool(pyramid.maps, cells.windows, cells.scale_index, levels, channels_last=True)


def apply_pooled(
    work: Callable[[spp.Array], NDArray[np.float32]],
    pyramid: FeaturePyramid,
    cells: Cells,
    levels: Sequence[int],
    own_threads: bool = False,
) -> NDArray[np.float32]:
    """`work` on the pool5 of R >= 1 windows, some at a time, so that all of it never is in memory.

    Args:
        work: vectors (N, D) -> float32 (N, ...), row by row; it must not keep what it is given.
        pyramid: of the image.
        cells: R windows.
        levels: of the pyramid pooling.
        own_threads: `work` makes threads of its own; else it is called by several, with BLAS products single-threaded.

    Returns:
        float32 (R, ...).
    """
    count, length = len(cells.windows), len(pyramid.maps[0]) * sum(n * n for n in levels)
    own_threads |= isinstance(pyramid.maps[0], torch.Tensor)
    size = LARGE_BLOCK if own_threads else BLOCK
    memory, starts = threading.local(), range(0, count, size)

    def block(start: int) -> NDArray[np.float32]:
        part = cells[slice(start, start + size)]
        if isinstance(pyramid.maps[0], torch.Tensor):
            return work(pool(pyramid, part, levels))
        if not hasattr(memory, "rows"):
            memory.rows = np.empty((min(size, count), length), np.float32)
        out, threads = memory.rows[: len(part.windows)], None if own_threads else 1
        return work(spp.pyramid_pool(pyramid.maps, part.windows, part.scale_index, levels, out, threads, True))

    if own_threads:
        return np.concatenate([block(start) for start in starts])
    with single_threaded_blas(), ThreadPoolExecutor(min(thread_count(), len(starts))) as threads:
        return np.concatenate(list(threads.map(block, starts)))


def score_pooled(
    scorer: Callable[[spp.Array], NDArray[np.float32]],
    fc: Callable[[spp.Array], spp.Array] | None,
    pyramid: FeaturePyramid,
    cells: Cells,
    levels: Sequence[int],
) -> NDArray[np.float32]:
    """What `scorer` gives the pool5 vectors of R >= 1 windows, or what `fc` makes of them: float32 (R, K)."""
    if fc is None:
        return apply_pooled(scorer, pyramid, cells, levels)

    def work(pooled: spp.Array) -> NDArray[np.float32]:
        return scorer(fc(torch.as_tensor(pooled)))  # by torch throughout: numpy's own threads would wait for torch's

    return apply_pooled(work, pyramid, cells, levels, own_threads=True)


def cache_manifest(
    body: ConvBody, scales: Sequence[int], preset: str = "paper", mirrored: bool = False
) -> dict[str, Any]:
    """All that decides what a cached map holds, and the preset that later stages take over."""
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
    """Put one image's maps in the cache.

    Raises:
        OSError: it cannot be written; nothing is left of it then.
        ValueError: a value is beyond half precision.
    """
    maps = [m.cpu().numpy() if isinstance(m, torch.Tensor) else m for m in pyramid.maps]
    cache.write(image_id, maps, {"image_size": list(pyramid.image_size)})


def load_pyramid(cache: FeatureCache, image_id: str) -> FeaturePyramid:
    """A cached image's maps.

    Raises:
        OSError, ValueError: the file is absent or damaged.
    """
    maps, meta = cache.read(image_id)
    height, width = meta["image_size"]
    manifest = cache.manifest
    return FeaturePyramid(
        [m.astype(np.float32) for m in maps],
        tuple(manifest["scales"]),
        (height, width),
        manifest["stride"],
        manifest["center"],
    )
