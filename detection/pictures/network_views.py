"""Pictures of what the network sees: responses of its filters, bins of a window, what an SVM's score is made of.

The first is the paper's Figure 2 for a photo of one's own, the second its Figure 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from detection import features
from detection.boxes import as_boxes
from detection.config import PoolingConfig
from detection.features import Cells, FeaturePyramid
from detection.model import Model
from detection.pictures import drawing
from detection.pictures.contact_sheet import Picture, tile

FOR, AGAINST = drawing.PALETTE[5], drawing.PALETTE[4]  # vermilion and blue: apart for colour-blind people too
DIM = 0.35  # brightness of the grey photo under a response
MOST_TINT = 0.75  # of the strongest bin
ZOOMED = 480  # pixels of the long side of a window that is looked at closely


@dataclass(frozen=True)
class Bin:
    """A bin of the pyramid on a window: `row` and `column` of `level` by `level`, and its cells, inclusive."""

    level: int
    row: int
    column: int
    cells: tuple[int, int, int, int]


def bins_of(window: Sequence[int], levels: Sequence[int]) -> Iterator[Bin]:
    """The bins of a window (x0, y0, x1, y1 in cells, inclusive), in the order of pooled vectors."""
    x0, y0, x1, y1 = window
    w, h = x1 - x0 + 1, y1 - y0 + 1
    for n in levels:
        for row in range(n):
            for column in range(n):
                left, top = x0 + column * w // n, y0 + row * h // n
                right, bottom = x0 - (-(column + 1) * w // n) - 1, y0 - (-(row + 1) * h // n) - 1
                yield Bin(n, row, column, (left, top, right, bottom))


def channel_sheet(
    photo: Picture, pyramid: FeaturePyramid, channels: Sequence[int] | None = None, count: int = 11, columns: int = 4
) -> tuple[Picture, list[int]]:
    """Where filters respond: the photo, then one tile a channel of the first map, its strongest cell framed.

    Args:
        photo: uint8 RGB (H, W, 3).
        pyramid: of the photo.
        channels: which; None: those with the strongest responses anywhere.
        count: how many, where `channels` is None.
        columns: tiles in a row.

    Returns:
        uint8 RGB, and the channels shown.

    Raises:
        ValueError: there is no such channel.
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
    """The window of a box at the scale it is pooled at, and the bins of each level; few cells are shared.

    Args:
        photo: uint8 RGB (H, W, 3).
        box: xyxy, image pixels.
        pyramid: of the photo, one map a scale of `pooling`.
        pooling: scales, rules and levels.

    Returns:
        uint8 RGB, and the window on its map.
    """
    boxes = as_boxes(np.asarray(box)[None])
    cells = features.locate(pyramid, boxes, pooling)
    index, window = int(cells.scale_index[0]), cells.windows[0].tolist()
    across, down = window[2] - window[0] + 1, window[3] - window[1] + 1
    whole = extent(window, pyramid, index)
    centres = [
        extent((x, y, x, y), pyramid, index).reshape(2, 2).mean(axis=0)
        for y in range(window[1], window[3] + 1)
        for x in range(window[0], window[2] + 1)
    ]
    zoom = _Zoom.on(photo, np.vstack([whole, boxes]))
    tiles = [drawing.draw(zoom.photo, zoom(np.vstack([whole, boxes])), ["cells", "box"], colors=[FOR, AGAINST])]
    captions = [f"{across} x {down} cells at scale {pyramid.scales[index]}"]
    for n in pooling.levels:
        frames = zoom([extent(b.cells, pyramid, index) for b in bins_of(window, (n,))])
        picture = drawing.draw(zoom.photo, frames, [""] * len(frames), colors=[FOR] * len(frames))
        for x, y in zoom(np.tile(centres, 2))[:, :2]:  # one dot a cell
            cv2.circle(picture, (round(x), round(y)), 2, drawing.WHITE, -1, cv2.LINE_AA)
        tiles.append(picture)
        captions.append(f"level {n} x {n}")
    return tile(tiles, captions, 3), cells


def contributions(model: Model, pyramid: FeaturePyramid, cells: Cells, label: int) -> tuple[NDArray[np.float32], float]:
    """What every number of one window's pooled vector adds to a class's score.

    Weight times value for SVMs of pool5, so that they and the bias add up to the score; through fully connected layers
    slope times value, which does so but for the layers' own biases.

    Args:
        model: SVMs, and the layers before them.
        pyramid: of the photo.
        cells: one window.
        label: of the class.

    Returns:
        float32 (B, C): bins in the order of `bins_of`, channels; and the score.
    """
    pooled = torch.as_tensor(features.pool(pyramid, cells, model.config.pooling.levels)).cpu().float()
    pooled.requires_grad_()
    made = model.fc.head(pooled, model.fc.layer) if model.fc else pooled
    weights = torch.from_numpy(model.svms.weights[label] * np.float32(model.svms.feature_scale))
    score = (made @ weights + float(model.svms.bias[label]))[0]
    (slope,) = torch.autograd.grad(score, pooled)
    parts: NDArray[np.float32] = (slope * pooled).detach().numpy()
    return parts.reshape(-1, len(pyramid.maps[0])), float(score.detach())


def evidence_sheet(
    photo: Picture, box: ArrayLike, model: Model, pyramid: FeaturePyramid, label: int, strongest: int = 3
) -> tuple[Picture, list[dict[str, float | int]]]:
    """What a class's SVM saw in a window: the sum of each bin, level by level, then its strongest cells of the pyramid.

    Args:
        photo: uint8 RGB (H, W, 3).
        box: xyxy, image pixels.
        model: of the detector.
        pyramid: of the photo.
        label: of the class.
        strongest: how many (bin, channel) pairs are shown over their channel's responses.

    Returns:
        uint8 RGB, and the pairs: level, row, column, channel, what each adds to the score.
    """
    pooling = model.config.pooling
    cells = features.locate(pyramid, as_boxes(np.asarray(box)[None]), pooling)
    index, bins = int(cells.scale_index[0]), list(bins_of(cells.windows[0].tolist(), pooling.levels))
    parts, score = contributions(model, pyramid, cells, label)
    sums = parts.sum(axis=1)
    tiles = [drawing.draw(photo, as_boxes(np.asarray(box)[None]), [model.classes[label]], [score])]
    captions = ["box and score"]
    for n in pooling.levels:
        shown = [(extent(b.cells, pyramid, index), s) for b, s in zip(bins, sums, strict=True) if b.level == n]
        tiles.append(_signed(photo, shown, float(np.abs(sums).max())))
        captions.append(f"level {n} x {n}: {sum(s for _, s in shown):+.2f}")
    pairs = []
    for flat in np.argsort(-parts, axis=None, kind="stable")[:strongest].tolist():
        b, channel = bins[flat // parts.shape[1]], flat % parts.shape[1]
        added = float(parts.flat[flat])
        under = heat(photo, _array(pyramid.maps[index])[channel], pyramid, index)
        tiles.append(drawing.draw(under, [extent(b.cells, pyramid, index)], [""], colors=[drawing.WHITE]))
        captions.append(f"channel {channel} in {b.level} x {b.level}: {added:+.3f}")
        pairs.append({"level": b.level, "row": b.row, "column": b.column, "channel": channel, "adds": added})
    return tile(tiles, captions, 4), pairs


@dataclass(frozen=True, eq=False)
class _Zoom:
    """A part of a photo, enlarged; called with boxes (N, 4) of the photo, it gives them on the part."""

    photo: Picture
    corner: tuple[int, int]
    factor: float

    @classmethod
    def on(cls, photo: Picture, boxes: NDArray[np.float64]) -> _Zoom:
        """What the boxes cover and a tenth of it around, its long side about `ZOOMED` pixels."""
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
    """The image pixels nearest to inclusive cells x0, y0, x1, y1 of a map: float64 (4,), xyxy, within the image."""
    sides = np.array(cells) + np.array([-0.5, -0.5, 0.5, 0.5])
    scaled = pyramid.center + pyramid.stride * sides
    height, width = pyramid.image_size
    pixels = (scaled + 0.5) * min(height, width) / pyramid.scales[index] - 0.5
    return np.clip(pixels, 0, np.array([width - 1, height - 1] * 2))


def heat(photo: Picture, response: NDArray[np.float32], pyramid: FeaturePyramid, index: int) -> Picture:
    """Positive responses (h, w) of a map over the grey photo, from dark to bright."""
    height, width = pyramid.image_size
    factor = pyramid.scales[index] / min(height, width)
    x, y = (
        (((np.arange(n) + 0.5) * factor - 0.5 - pyramid.center) / pyramid.stride).astype(np.float32)
        for n in (width, height)
    )
    where = (np.broadcast_to(x, (height, width)).copy(), np.broadcast_to(y[:, None], (height, width)).copy())
    smooth = cv2.remap(response.astype(np.float32), *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = (smooth / max(float(response.max()), 1e-6)).clip(0, 1)[..., None]  # (H, W, 1)
    levels = np.round(share[..., 0] * 255).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return _rounded(_grey(photo) * DIM * (1 - share) + colors * share)


def _signed(photo: Picture, shown: Sequence[tuple[NDArray[np.float64], float]], most: float) -> Picture:
    """Bins over the grey photo: vermilion what speaks for the class, blue what speaks against it, by how much."""
    canvas, total = _grey(photo), np.zeros(photo.shape[:2], np.float64)
    cover = np.zeros(photo.shape[:2], np.int64)
    for box, value in shown:
        x0, y0, x1, y1 = np.rint(box).astype(int)
        total[y0 : y1 + 1, x0 : x1 + 1] += value
        cover[y0 : y1 + 1, x0 : x1 + 1] += 1
    share = (total / np.maximum(cover, 1) / max(most, 1e-6))[..., None]  # bins that share cells: their mean
    colors = np.where(share > 0, np.array(FOR), np.array(AGAINST))
    strength = MOST_TINT * np.abs(share) ** 0.5  # that small sums show at all, and the photo under large ones
    return _rounded(canvas * (1 - strength) * 0.8 + colors * strength)


def _grey(photo: Picture) -> NDArray[np.float64]:
    """float64 (H, W, 1)."""
    grey: NDArray[np.float64] = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float64)
    return grey


def _rounded(values: NDArray[np.float64]) -> Picture:
    return np.round(values).clip(0, 255).astype(np.uint8)


def _array(values: NDArray[np.float32] | torch.Tensor) -> NDArray[np.float32]:
    """Of a map on any device."""
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else values
