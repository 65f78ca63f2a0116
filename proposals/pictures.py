"""Pictures of proposals: the regions of a hierarchy as they merge, and recall curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection.files import MARK
from detection.image import as_rgb
from detection.pictures.contact_sheet import INK, Picture, tile
from proposals.colour import planes
from proposals.grouping import merge_tree
from proposals.hierarchical_search import MAX_SIDE
from proposals.recall import CURVE, RecallResult
from proposals.regions import describe, pixel_bins
from proposals.resize import shrink
from proposals.segmentation import build_graph, segment

if TYPE_CHECKING:
    from matplotlib.axes import Axes


REGIONS = (200, 50, 15, 5)
FILLS = ("mean", "random")
PLOTS = ("png", "svg", "pdf")
_INITIAL = (50, 50)  # k and min_size of the finer scale in selective search's fast mode
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Okabe and Ito's colours for colour-blind readers, without yellow, which has little contrast on white."""
_STYLES = ("-", "--", "-.", ":")  # keep lines visible that cover each other


@dataclass(frozen=True, eq=False)
class Level:
    """Regions of an image after some merges.

    Attributes:
        labels: int32 (H, W), initial segment of each pixel, 0..n-1.
        region: int32 (n,), region of each initial segment, 0..R-1.
    """

    labels: NDArray[np.int32]
    region: NDArray[np.int32]

    @property
    def regions(self) -> int:
        """Number of regions R."""
        return int(self.region.max()) + 1


def merge_levels(image: ArrayLike, counts: Sequence[int] = REGIONS, space: str = "hsv") -> list[Level]:
    """Return the initial segmentation of an image, and the levels where given numbers of regions are left.

    The hierarchy is one of selective search, with all four similarity measures.

    Args:
        image: uint8 RGB (H, W, 3), or grey (H, W).
        counts: numbers of regions; those not below the initial number are ignored.
        space: colour space, one of `colour.SPACES`.

    Returns:
        the levels, the finest first.

    Raises:
        ValueError: an argument is invalid.
    """
    if any(count < 1 for count in counts):
        raise ValueError(f"counts: expected 1 or more regions, got {min(counts)}")
    channels = planes(as_rgb(image), space)
    labels = segment(build_graph(channels), *_INITIAL)
    parent = merge_tree(describe(labels, pixel_bins(channels)), "CTSF")
    n = (len(parent) + 1) // 2
    steps = [n, *sorted({count for count in counts if count < n}, reverse=True)]
    return [Level(labels, _regions_left(parent, count)) for count in steps]


def _regions_left(parent: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """Return the region of each initial segment when `count` are left: int32 (n,), numbered by their first segments."""
    n = (len(parent) + 1) // 2
    made = 2 * n - count  # regions created so far, including merged ones
    top = np.arange(made)
    for region in range(made - 1, -1, -1):
        if parent[region] < made:
            top[region] = top[parent[region]]
    _, first, number = np.unique(top[:n], return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int32)
    place[np.argsort(first)] = np.arange(len(first))
    return place[number]


def paint(image: ArrayLike, level: Level, fill: str = "mean", seed: int = 0) -> Picture:
    """Draw regions in uniform colours, separated by lines.

    Args:
        image: uint8 RGB (H, W, 3), or grey (H, W).
        level: regions of the image.
        fill: "mean", the mean colour of each region; or "random", where a merged region keeps the colour of its largest
            initial segment.
        seed: random seed of the colours.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ValueError: `fill` is unknown, or the regions belong to an image of another size.
    """
    rgb = as_rgb(image)
    if fill not in FILLS:
        raise ValueError(f"fill: expected one of {', '.join(FILLS)}, got {fill!r}")
    if rgb.shape[:2] != level.labels.shape:
        raise ValueError(f"level: expected the size of the image, {rgb.shape[:2]}, got {level.labels.shape}")
    labels = level.region[level.labels]  # (H, W)
    colors = _mean_colors(rgb, labels) if fill == "mean" else _random_colors(level, seed)
    picture = colors[labels]  # (H, W, 3)
    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    line = picture[edge] // 2 + 128 if fill == "mean" else np.array(INK)
    picture[edge] = line.astype(np.uint8)
    return picture


def _mean_colors(image: Picture, labels: NDArray[np.int32]) -> Picture:
    """Compute the mean colour of each region: (H, W, 3), labels 0..R-1 -> uint8 (R, 3)."""
    flat = labels.ravel()
    sums = np.stack([np.bincount(flat, image[:, :, c].ravel()) for c in range(3)], axis=1)  # (R, 3)
    return np.rint(sums / np.bincount(flat)[:, None]).astype(np.uint8)


def _random_colors(level: Level, seed: int) -> Picture:
    """Draw colours, uint8 (R, 3): each region has the colour of its largest initial segment."""
    sizes = np.bincount(level.labels.ravel(), minlength=len(level.region))
    # dark colours are for the lines
    colors = np.random.default_rng(seed).integers(60, 256, (len(level.region), 3), np.uint8)
    by_size = np.argsort(sizes, kind="stable")
    largest = np.empty(level.regions, np.int64)
    largest[level.region[by_size]] = by_size  # for repeated indices the last value stays
    return colors[largest]


def level_sheet(
    image: ArrayLike,
    counts: Sequence[int] = REGIONS,
    space: str = "hsv",
    fill: str = "mean",
    seed: int = 0,
    columns: int = 3,
) -> Picture:
    """Draw a photo and the regions of a hierarchy as they merge, as tiles with captions.

    Args:
        image: uint8 RGB (H, W, 3), or grey (H, W); downsized as by selective search.
        counts: numbers of regions; see `merge_levels`.
        space: colour space; see `merge_levels`.
        fill: colours of the regions; see `paint`.
        seed: random seed of the colours.
        columns: number of tiles per row.

    Returns:
        uint8 RGB (H', W', 3).

    Raises:
        ValueError: an argument is invalid.
    """
    photo = shrink(as_rgb(image), MAX_SIDE)
    levels = merge_levels(photo, counts, space)
    captions = ["photo", *(f"{level.regions} regions" for level in levels)]
    captions[1] += ", the initial segmentation"
    return tile([photo, *(paint(photo, level, fill, seed) for level in levels)], captions, columns)


def recall_plot(sources: Mapping[str, Sequence[RecallResult]], kind: str = "png") -> bytes:
    """Plot recall over IoU, and average recall over the number of boxes, with one line per source.

    Args:
        sources: name of the source -> its results in ascending order of the number of boxes, the last with all boxes.
        kind: file format, one of `PLOTS`.

    Returns:
        content of the file.

    Raises:
        ValueError: the file format is unknown.
    """
    from matplotlib.figure import Figure

    if kind not in PLOTS:
        raise ValueError(f"kind: expected one of {', '.join(PLOTS)}, got {kind!r}")
    figure = Figure(figsize=(11, 4.6 + 0.12 * len(sources)), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (name, results) in enumerate(sources.items()):
        style = {"color": _LINES[i % len(_LINES)], "linestyle": _STYLES[i % len(_STYLES)], "lw": 1.8}
        last = results[-1]
        recall = f"{last.average_recall:.3f}" if len(last.overlaps) else "n/a"
        label = f"{name}: AR {recall}, {last.boxes_per_image:,.0f} boxes"
        left.plot(CURVE, last.curve(), label=label, **style)
        shown = [r for r in results if r.boxes_per_image > 0 and len(r.overlaps)]  # without objects there is no recall
        x, y = [r.boxes_per_image for r in shown], [r.average_recall for r in shown]
        right.plot(x, y, marker="o", ms=4, **style)
    _finish(left, "IoU threshold", "recall, all boxes")
    _finish(right, "boxes per image (mean)", "average recall, IoU 0.5 to 1")
    left.set_xlim(0.5, 1)
    if any(line.get_xdata().size for line in right.lines):  # a log axis needs a positive value
        right.set_xscale("log")
    right.xaxis.set_major_formatter("{x:,.0f}")
    right.minorticks_off()
    if sources:
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format=kind, dpi=150, metadata={"Software" if kind == "png" else "Creator": MARK})
    return buffer.getvalue()


def _finish(axes: Axes, x: str, y: str) -> None:
    """Label the axes, set the range of y, and draw a grid."""
    axes.set(xlabel=x, ylabel=y, ylim=(0, 1))
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
