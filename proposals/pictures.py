"""Pictures of proposals: the regions of a hierarchy as they merge, and curves of recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection.image import as_rgb
from detection.pictures.contact_sheet import INK, Picture, tile
from proposals.colour import planes
from proposals.grouping import merge_tree
from proposals.recall import CURVE, RecallResult
from proposals.regions import describe, pixel_bins
from proposals.resize import shrink
from proposals.segmentation import build_graph, segment
from proposals.selective_search import MAX_SIDE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


REGIONS = (200, 50, 15, 5)
FILLS = ("mean", "random")
PLOTS = ("png", "svg", "pdf")
_INITIAL = (50, 50)  # k and min_size, those of the finer half of selective search's fast mode
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Okabe and Ito's colours, told apart by colour-blind people too, without yellow, which is weak on white."""
_STYLES = ("-", "--", "-.", ":")  # too, so that lines that lie on each other show


@dataclass(frozen=True, eq=False)
class Level:
    """A picture's regions after some merges.

    Attributes:
        labels: int32 (H, W), 0..n-1, the initial segmentation.
        region: int32 (n,), 0..R-1, which region each initial segment belongs to.
    """

    labels: NDArray[np.int32]
    region: NDArray[np.int32]

    @property
    def regions(self) -> int:
        """R, how many there are."""
        return int(self.region.max()) + 1


def merge_levels(image: ArrayLike, counts: Sequence[int] = REGIONS, space: str = "hsv") -> list[Level]:
    """The initial segmentation, and what is left of it at some numbers of regions.

    The hierarchy is one of selective search's, with all four similarities.

    Args:
        image: uint8 RGB (H, W, 3), or grey (H, W).
        counts: numbers of regions; those not under the initial number are left out.
        space: of the colours that are compared, one of `colour.SPACES`.

    Returns:
        the levels, the finest first.

    Raises:
        ValueError: an argument is not as described.
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
    """The region of each initial segment once `count` are left: int32 (n,), numbered by first segments."""
    n = (len(parent) + 1) // 2
    made = 2 * n - count  # regions made so far, those swallowed included
    top = np.arange(made)
    for region in range(made - 1, -1, -1):
        if parent[region] < made:
            top[region] = top[parent[region]]
    _, first, number = np.unique(top[:n], return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int32)
    place[np.argsort(first)] = np.arange(len(first))
    return place[number]


def paint(image: ArrayLike, level: Level, fill: str = "mean", seed: int = 0) -> Picture:
    """Regions in flat colours, divided by lines.

    Args:
        image: uint8 RGB (H, W, 3), or grey (H, W).
        level: its regions.
        fill: "mean", the mean colour of each region; or "random", where a merged region keeps the colour of its
            largest initial segment.
        seed: of the random colours.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ValueError: another fill, or the regions are of another picture size.
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
    """(H, W, 3), labels 0..R-1 -> (R, 3)."""
    flat = labels.ravel()
    sums = np.stack([np.bincount(flat, image[:, :, c].ravel()) for c in range(3)], axis=1)  # (R, 3)
    return np.rint(sums / np.bincount(flat)[:, None]).astype(np.uint8)


def _random_colors(level: Level, seed: int) -> Picture:
    """Colours (R, 3) of the regions, each that of its largest initial segment."""
    sizes = np.bincount(level.labels.ravel(), minlength=len(level.region))
    colors = np.random.default_rng(seed).integers(60, 256, (len(level.region), 3), np.uint8)  # dark is for the lines
    by_size = np.argsort(sizes, kind="stable")
    largest = np.empty(level.regions, np.int64)
    largest[level.region[by_size]] = by_size  # of repeated indices the last one stays
    return colors[largest]


def level_sheet(
    image: ArrayLike,
    counts: Sequence[int] = REGIONS,
    space: str = "hsv",
    fill: str = "mean",
    seed: int = 0,
    columns: int = 3,
) -> Picture:
    """A photo and the regions of a hierarchy as they merge, tiled with captions.

    Args:
        image: uint8 RGB (H, W, 3), or grey (H, W); downsized as selective search does.
        counts: numbers of regions; see `merge_levels`.
        space: likewise.
        fill: see `paint`.
        seed: likewise.
        columns: tiles in a row.

    Returns:
        uint8 RGB.

    Raises:
        ValueError: an argument is not as described.
    """
    photo = shrink(as_rgb(image), MAX_SIDE)
    levels = merge_levels(photo, counts, space)
    captions = ["photo", *(f"{level.regions} regions" for level in levels)]
    captions[1] += ", the initial segmentation"
    return tile([photo, *(paint(photo, level, fill, seed) for level in levels)], captions, columns)


def recall_plot(sources: Mapping[str, Sequence[RecallResult]], kind: str = "png") -> bytes:
    """Recall over IoU, and average recall over the number of boxes, one line a source.

    Args:
        sources: name -> its results by rising numbers of boxes, the last with all.
        kind: of file, one of `PLOTS`.

    Returns:
        the file.

    Raises:
        ModuleNotFoundError: matplotlib, the extra "vis", is not installed.
        ValueError: another kind of file.
    """
    from matplotlib.figure import Figure

    if kind not in PLOTS:
        raise ValueError(f"kind: expected one of {', '.join(PLOTS)}, got {kind!r}")
    figure = Figure(figsize=(11, 4.6 + 0.12 * len(sources)), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (name, results) in enumerate(sources.items()):
        style = {"color": _LINES[i % len(_LINES)], "linestyle": _STYLES[i % len(_STYLES)], "lw": 1.8}
        last = results[-1]
        label = f"{name}: AR {last.average_recall:.3f}, {last.boxes_per_image:,.0f} boxes"
        left.plot(CURVE, last.curve(), label=label, **style)
        shown = [r for r in results if r.boxes_per_image > 0]
        x, y = [r.boxes_per_image for r in shown], [r.average_recall for r in shown]
        right.plot(x, y, marker="o", ms=4, **style)
    _finish(left, "IoU threshold", "recall, all boxes")
    _finish(right, "boxes an image (mean)", "average recall, IoU 0.5 to 1")
    left.set_xlim(0.5, 1)
    if any(results[-1].boxes_per_image > 0 for results in sources.values()):  # a log axis needs a line
        right.set_xscale("log")
    right.xaxis.set_major_formatter("{x:,.0f}")
    right.minorticks_off()
    if sources:
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set(xlabel=x, ylabel=y, ylim=(0, 1))
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
