"""Views of the network on one photo: filter responses, pyramid bins of a window, contributions to an SVM score.

`channel_sheet` shows the paper's Figure 2 for a photo, `bin_sheet` its Figure 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from detection import features
from detection.boxes import checked
from detection.config import PoolingConfig
from detection.features import Cells, FeaturePyramid
from detection.model import Model
from detection.pictures import drawing
from detection.pictures.contact_sheet import Picture, tile

FOR, AGAINST = drawing.PALETTE[5], drawing.PALETTE[4]  # vermilion and blue, distinguishable for colour-blind people
DIM = 0.35  # brightness factor of the grey photo below a response
MOST_TINT = 0.75  # opacity of the strongest bin's colour
ZOOMED = 480  # long side in pixels of an enlarged part of the photo


@dataclass(frozen=True)
class Bin:
    """A pyramid bin of a window.

    Attributes:
        level: bins per side of its pyramid level.
        row: its row in the level.
        column: its column in the level.
        cells: x0, y0, x1, y1 in cells, inclusive.
        size: of the pooled region, relative to the window: 1, or more for a larger window around it.
    """

    level: int
    row: int
    column: int
    cells: tuple[int, int, int, int]
    size: float = 1.0

    @property
    def pyramid_level(self) -> str:
        """The level in words."""
        return f"{self.level} x {self.level}" + (f" of {self.size:g} times the window" if self.size != 1 else "")


def bins_of(window: Sequence[int], levels: Sequence[int], size: float = 1.0) -> Iterator[Bin]:
    """Yield the bins of a region (x0, y0, x1, y1 in cells, inclusive) in the order of pooled vectors."""
    x0, y0, x1, y1 = window
    w, h = x1 - x0 + 1, y1 - y0 + 1
    for n in levels:
        for row in range(n):
            for column in range(n):
                left, top = x0 + column * w // n, y0 + row * h // n
                right, bottom = x0 - (-(column + 1) * w // n) - 1, y0 - (-(row + 1) * h // n) - 1
                yield Bin(n, row, column, (left, top, right, bottom), size)


def levels_of(cells: Cells, pooling: PoolingConfig) -> list[list[Bin]]:
    """Return the bins of each level of one window, and of the larger windows around it, in the order of its values."""
    regions = zip(cells.regions, pooling.pyramids, (1.0, *pooling.context), strict=True)
    return [list(bins_of(region[0].tolist(), (n,), size)) for region, levels, size in regions for n in levels]


def channel_sheet(
    photo: Picture, pyramid: FeaturePyramid, channels: Sequence[int] | None = None, count: int = 11, columns: int = 4
) -> tuple[Picture, list[int]]:
    """Show where filters respond: the photo, then the responses of one channel per tile with the strongest cell framed.

    Args:
        photo: uint8 RGB (H, W, 3).
        pyramid: feature pyramid of the photo; its first map is shown.
        channels: indices of the channels; None for those with the strongest responses.
        count: number of channels if `channels` is None.
        columns: tiles per row.

    Returns:
        The sheet, uint8 RGB (H, W, 3), and the channels shown.

    Raises:
        ValueError: a channel does not exist.
    """
    conv5 = _array(pyramid.maps[0])  # (C, h, w)
    if channels is None:
        channels = np.argsort(-conv5.max(axis=(1, 2)), kind="stable")[:count].tolist()
    if unknown := [c for c in channels if not 0 <= c < len(conv5)]:
        raise ValueError(f"channels: the map has 0 to {len(conv5) - 1}, got {unknown[0]}")
    tiles, captions = [photo], [f"{conv5.shape[2]} x {conv5.shape[1]} cells of {len(conv5)} channels"]
    for c in channels:
        y, x = np.unravel_index(conv5[c].argmax(), conv5[c].shape)
        frame = extent((int(x), int(y), int(x), int(y)), pyramid, 0)
        tiles.append(drawing.draw(heat(photo, conv5[c], pyramid, 0), [frame], [""], colors=[drawing.WHITE]))
        captions.append(f"channel {c}, at most {conv5[c].max():.1f}")
    return tile(tiles, captions, columns), list(channels)


def bin_sheet(photo: Picture, box: ArrayLike, pyramid: FeaturePyramid, pooling: PoolingConfig) -> tuple[Picture, Cells]:
    """Show the window of a box at its scale, and the bins of each pyramid level.

    Args:
        photo: uint8 RGB (H, W, 3).
        box: (4,), xyxy, 0-based inclusive image pixels.
        pyramid: feature pyramid of the photo with one map per scale of `pooling`.
        pooling: scales, rules and pyramid levels.

    Returns:
        The sheet, uint8 RGB (H, W, 3), and the cells of the window.
    """
    boxes = checked(np.asarray(box)[None], pyramid.image_size)
    cells = features.locate(pyramid, boxes, pooling)
    index, window = int(cells.scale_index[0]), cells.windows[0].tolist()
    across, down = window[2] - window[0] + 1, window[3] - window[1] + 1
    whole = extent(window, pyramid, index)
    centres = [
        extent((x, y, x, y), pyramid, index).reshape(2, 2).mean(axis=0)
        for y in range(window[1], window[3] + 1)
        for x in range(window[0], window[2] + 1)
    ]
    pooled = [extent(region[0].tolist(), pyramid, index) for region in cells.regions]
    zoom = _Zoom.on(photo, np.vstack([*pooled, boxes]))
    tiles = [drawing.draw(zoom.photo, zoom(np.vstack([whole, boxes])), ["cells", "box"], colors=[FOR, AGAINST])]
    captions = [f"{across} x {down} cells at scale {pyramid.scales[index]}"]
    for bins in levels_of(cells, pooling):
        frames = zoom([extent(b.cells, pyramid, index) for b in bins])
        picture = drawing.draw(zoom.photo, frames, [""] * len(frames), colors=[FOR] * len(frames))
        for x, y in zoom(np.tile(centres, 2))[:, :2]:  # one dot per cell
            cv2.circle(picture, (round(x), round(y)), 2, drawing.WHITE, -1, cv2.LINE_AA)
        tiles.append(picture)
        captions.append(f"level {bins[0].pyramid_level}")
    return tile(tiles, captions, 3), cells


def contributions(model: Model, pyramid: FeaturePyramid, cells: Cells, label: int) -> tuple[NDArray[np.float32], float]:
    """Compute the contribution of every value in a window's pooled vector to the score of a class.

    With SVMs on pool5, a contribution is weight times value, and the contributions plus the bias are the score. With
    fully connected layers, it is gradient times value; the sum then lacks the effect of the layers' biases.

    Args:
        model: the SVMs and the fully connected layers before them, if any.
        pyramid: feature pyramid of the photo.
        cells: one window.
        label: label of the class.

    Returns:
        float32 (B, C), one row per bin in the order of `levels_of` and one column per channel; and the score.
    """
    pooled = torch.as_tensor(features.pool(pyramid, cells, model.config.pooling)).cpu().float()
    pooled.requires_grad_()
    svm_input = model.fc.head(pooled, model.fc.layer) if model.fc else pooled
    weights = torch.from_numpy(model.svms.weights[label] * np.float32(model.svms.feature_scale))
    score = (svm_input @ weights + float(model.svms.bias[label]))[0]
    (gradient,) = torch.autograd.grad(score, pooled)
    parts: NDArray[np.float32] = (gradient * pooled).detach().numpy()
    return parts.reshape(-1, len(pyramid.maps[0])), float(score.detach())


def evidence_sheet(
    photo: Picture, box: ArrayLike, model: Model, pyramid: FeaturePyramid, label: int, strongest: int = 3
) -> tuple[Picture, list[dict[str, float | int]]]:
    """Show the evidence for a class in a window: contributions of the bins of each level, then the strongest channels.

    Args:
        photo: uint8 RGB (H, W, 3).
        box: (4,), xyxy, 0-based inclusive image pixels.
        model: the detector's model.
        pyramid: feature pyramid of the photo.
        label: label of the class.
        strongest: number of (bin, channel) pairs to show, each over the channel's responses.

    Returns:
        The sheet, uint8 RGB (H, W, 3), and one dictionary per pair: level, row, column, channel, adds, its
        contribution to the score, and size, for a larger window around the box.
    """
    pooling = model.config.pooling
    boxes = checked(np.asarray(box)[None], pyramid.image_size)
    cells = features.locate(pyramid, boxes, pooling)
    index, levels = int(cells.scale_index[0]), levels_of(cells, pooling)
    bins = [b for level in levels for b in level]
    parts, score = contributions(model, pyramid, cells, label)
    sums = parts.sum(axis=1)
    edges = np.cumsum([0, *map(len, levels)])
    tiles = [drawing.draw(photo, boxes, [model.classes[label]], [score])]
    captions = ["box and score"]
    for level, start in zip(levels, edges, strict=False):
        mine = sums[start : start + len(level)]
        shown = [(extent(b.cells, pyramid, index), s) for b, s in zip(level, mine, strict=True)]
        tiles.append(_signed(photo, shown, float(np.abs(sums).max())))
        captions.append(f"level {level[0].pyramid_level}: {mine.sum():+.2f}")
    pairs = []
    for flat in np.argsort(-parts, axis=None, kind="stable")[:strongest].tolist():
        b, channel = bins[flat // parts.shape[1]], flat % parts.shape[1]
        added = float(parts.flat[flat])
        under = heat(photo, _array(pyramid.maps[index])[channel], pyramid, index)
        tiles.append(drawing.draw(under, [extent(b.cells, pyramid, index)], [""], colors=[drawing.WHITE]))
        captions.append(f"channel {channel} in {b.pyramid_level}: {added:+.3f}")
        pair = {"level": b.level, "row": b.row, "column": b.column, "channel": channel, "adds": added}
        pairs.append(pair if b.size == 1 else pair | {"size": b.size})
    return tile(tiles, captions, 4), pairs


@dataclass(frozen=True, eq=False)
class _Zoom:
    """An enlarged part of a photo; calling it converts boxes (N, 4) of the photo to pixels of the part."""

    photo: Picture
    corner: tuple[int, int]
    factor: float

    @classmethod
    def on(cls, photo: Picture, boxes: NDArray[np.float64]) -> _Zoom:
        """Enlarge the part that the boxes cover, with a margin of a tenth, to a long side of about `ZOOMED` pixels."""
        low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
        margin = 0.1 * (high - low).max() + 4
        height, width = photo.shape[:2]
        x0, y0 = (int(v) for v in np.maximum(np.floor(low - margin), 0))
        x1, y1 = (int(v) for v in np.minimum(np.ceil(high + margin) + 1, (width, height)))
        factor = ZOOMED / max(x1 - x0, y1 - y0)
        size = (round((x1 - x0) * factor), round((y1 - y0) * factor))
        return cls(cv2.resize(photo[y0:y1, x0:x1], size, interpolation=cv2.INTER_CUBIC), (x0, y0), factor)  # type: ignore[arg-type]

    def __call__(self, boxes: ArrayLike) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = (np.asarray(boxes, np.float64) - (*self.corner, *self.corner)) * self.factor
        return moved


def extent(cells: Sequence[int], pyramid: FeaturePyramid, index: int) -> NDArray[np.float64]:
    """Return the image pixels closest to inclusive cells x0, y0, x1, y1 of a map: float64 (4,), xyxy, in the image."""
    sides = np.array(cells) + np.array([-0.5, -0.5, 0.5, 0.5])
    scaled = pyramid.center + pyramid.stride * sides
    height, width = pyramid.image_size
    pixels = (scaled + 0.5) * min(height, width) / pyramid.scales[index] - 0.5
    return np.clip(pixels, 0, np.array([width - 1, height - 1] * 2))


def heat(photo: Picture, response: NDArray[np.float32], pyramid: FeaturePyramid, index: int) -> Picture:
    """Draw the positive responses (h, w) of a channel over the grey photo, from dark to bright."""
    height, width = pyramid.image_size
    factor = pyramid.scales[index] / min(height, width)
    x, y = (
        (((np.arange(n) + 0.5) * factor - 0.5 - pyramid.center) / pyramid.stride).astype(np.float32)
        for n in (width, height)
    )
    cells = (np.broadcast_to(x, (height, width)).copy(), np.broadcast_to(y[:, None], (height, width)).copy())
    smooth = cv2.remap(response.astype(np.float32), *cells, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = (smooth / max(float(response.max()), 1e-6)).clip(0, 1)[..., None]  # (H, W, 1)
    levels = np.round(share[..., 0] * 255).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return _rounded(_grey(photo) * DIM * (1 - share) + colors * share)


def _signed(photo: Picture, shown: Sequence[tuple[NDArray[np.float64], float]], most: float) -> Picture:
    """Tint bins over the grey photo: vermilion for positive and blue for negative contributions, by their size."""
    canvas, total = _grey(photo), np.zeros(photo.shape[:2], np.float64)
    cover = np.zeros(photo.shape[:2], np.int64)
    for box, value in shown:
        x0, y0, x1, y1 = np.rint(box).astype(int)
        total[y0 : y1 + 1, x0 : x1 + 1] += value
        cover[y0 : y1 + 1, x0 : x1 + 1] += 1
    share = (total / np.maximum(cover, 1) / max(most, 1e-6))[..., None]  # the mean of bins that share cells
    colors = np.where(share > 0, np.array(FOR), np.array(AGAINST))
    strength = MOST_TINT * np.abs(share) ** 0.5  # small sums stay visible, and so does the photo below large ones
    return _rounded(canvas * (1 - strength) * 0.8 + colors * strength)


def _grey(photo: Picture) -> NDArray[np.float64]:
    """Convert a photo to grey: float64 (H, W, 1)."""
    grey: NDArray[np.float64] = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float64)
    return grey


def _rounded(values: NDArray[np.float64]) -> Picture:
    return np.round(values).clip(0, 255).astype(np.uint8)


def _array(values: NDArray[np.float32] | torch.Tensor) -> NDArray[np.float32]:
    """Convert a map on any device to numpy."""
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else values
