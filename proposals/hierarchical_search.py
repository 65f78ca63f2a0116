"""Selective search: boxes around the regions of several hierarchical groupings of an image.

Source: Uijlings, van de Sande, Gevers, Smeulders, "Selective Search for Object Recognition", IJCV 2013; the modes and
the order of the boxes are those of the authors' program.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.image import as_rgb
from proposals.colour import planes
from proposals.grouping import group
from proposals.regions import describe, pixel_bins
from proposals.resize import enlarge, shrink
from proposals.segmentation import build_graph, segment

MIN_SIDE = 20  # px; smaller boxes are dropped, as by the authors
MAX_SIDE = 1000  # px, limit of the longer side of the searched image
SIDE_BITS = 15  # bits per coordinate; four coordinates form one key


@dataclass(frozen=True)
class Mode:
    """Hierarchies of a search: every combination of colour space, scale and set of similarity measures.

    Attributes:
        spaces: colour spaces out of `colour.SPACES`.
        measures: sets of similarity measures, each a string of the letters in `grouping.group`.
        scales: (k, min_size in pixels) of each initial segmentation.
    """

    spaces: tuple[str, ...]
    measures: tuple[str, ...]
    scales: tuple[tuple[int, int], ...]


MODES = {
    "single": Mode(("hsv",), ("CTSF",), ((100, 100),)),
    "fast": Mode(("hsv", "lab"), ("CTSF", "TSF"), ((50, 50), (100, 100))),
    "quality": Mode(
        ("hsv", "lab", "rgi", "h", "i"),
        ("CTSF", "TSF", "F", "S"),
        ((50, 50), (100, 100), (150, 150), (300, 300)),
    ),
}


def selective_search(
    image: NDArray[np.uint8],
    mode: str = "fast",
    min_side: int = MIN_SIDE,
    seed: int = 0,
    max_side: int = MAX_SIDE,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Propose boxes that are likely to hold an object, best first.

    The same arguments give the same boxes.

    Args:
        image: uint8, RGB (H, W, 3) or grey (H, W).
        mode: "single" (1 hierarchy), "fast" (8, the detector's default) or "quality" (80).
        min_side: minimum width and height of a box in image pixels.
        seed: random seed of the order of the boxes.
        max_side: limit of the image's longer side in pixels; a larger image is downsized for the search.
        threads: number of colour spaces to search in parallel; the boxes do not depend on it.

    Returns:
        float32 (R, 4), xyxy, 0-based inclusive image pixels, without duplicates; (0, 4) if no box is large enough.

    Raises:
        ValueError: an argument is invalid.
    """
    check_settings(mode, min_side, seed, max_side)
    image = as_rgb(image)
    searched = shrink(image, max_side)
    hierarchies = _hierarchies(searched, MODES[mode], threads)
    boxes = _ranked(hierarchies, seed)
    boxes_image = enlarge(boxes, searched.shape[:2], image.shape[:2])
    sides = boxes_image[:, 2:] - boxes_image[:, :2] + 1
    return boxes_image[(sides >= min_side).all(1)].astype(np.float32)


def _hierarchies(image: NDArray[np.uint8], mode: Mode, threads: int) -> list[NDArray[np.int32]]:
    """Return the boxes of each hierarchy; see `group`. The kernels release the GIL."""
    workers = min(threads, len(mode.spaces))
    if workers <= 1:
        found = [_search(image, space, mode) for space in mode.spaces]
    else:
        with ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(lambda space: _search(image, space, mode), mode.spaces))
    return [boxes for space in found for boxes in space]


def _search(image: NDArray[np.uint8], space: str, mode: Mode) -> list[NDArray[np.int32]]:
    """Return the boxes of each hierarchy in one colour space."""
    channels = planes(image, space)
    graph, bins = build_graph(channels), pixel_bins(channels)
    found = []
    for k, min_size in mode.scales:
        regions = describe(segment(graph, k, min_size), bins)
        found += [group(regions, measures) for measures in mode.measures]
    return found


def _ranked(hierarchies: list[NDArray[np.int32]], seed: int) -> NDArray[np.int32]:
    """Sort the boxes of all hierarchies by rank times a uniform random number, and keep the first of equal boxes.

    The last box of a hierarchy, the whole image, has rank 1.
    """
    ranks = np.concatenate([np.arange(len(boxes), 0, -1) for boxes in hierarchies])
    order = np.argsort(ranks * np.random.default_rng(seed).random(len(ranks)), kind="stable")
    boxes = np.concatenate(hierarchies)[order]
    x1, y1, x2, y2 = boxes.astype(np.int64).T
    keys = ((x1 << SIDE_BITS | y1) << SIDE_BITS | x2) << SIDE_BITS | y2
    first = np.unique(keys, return_index=True)[1]
    return boxes[np.sort(first)]


def check_settings(mode: str, min_side: int, seed: int, max_side: int) -> None:
    """Raise ValueError if an argument of `selective_search` is invalid."""
    if mode not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
    for name, value, least in (("min_side", min_side, 0), ("seed", seed, 0), ("max_side", max_side, 1)):
        if value < least:
            raise ValueError(f"{name}: expected {least} or more, got {value}")
    if max_side > 1 << SIDE_BITS:
        raise ValueError(f"max_side: expected at most {1 << SIDE_BITS}, got {max_side}")
