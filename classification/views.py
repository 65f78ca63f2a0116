"""Views of a photo: crops, the whole photo, or windows of its feature maps (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from classification.augment import crop_positions, cut
from classification.config import CROP, MULTI_VIEW_SCALES, SHORT_SIDE, VIEWS, Layer, ViewKind
from classification.extractor import Extractor
from detection import spp
from detection.config import LARGEST_SIDE
from detection.image import pixels_of, resize_short_side, short_side_for
from detection.plain_values import Limits

Photo = NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """Parts of a photo that are shown to the network.

    Attributes:
        kind: "crop": the 224-pixel centre. "warp": the whole photo, warped to a square. "full": the whole photo.
            "ten": the 224-pixel crops of centre and corners, and their mirror images. "maps": 96 windows of the conv5
            maps of the photo and its mirror image at six scales. "maps+full": "maps", and the whole photo and its
            mirror image at a short side of 256 pixels (section 3.1.5).
        short_side: short side in pixels that the photo is resized to first; for "warp", the side of the square. The
            "maps" views do not use it.

    Raises:
        ValueError: the kind is unknown, or the short side too small for it.
    """

    kind: ViewKind = "full"
    short_side: Annotated[int, Limits(1, LARGEST_SIDE)] = SHORT_SIDE

    def __post_init__(self) -> None:
        if self.kind not in VIEWS:
            raise ValueError(f"view: expected one of {', '.join(VIEWS)}, got {self.kind!r}")
        least = CROP if self.kind in ("crop", "ten") else 1
        if self.short_side < least:
            raise ValueError(f"view: {self.kind} needs a short side of {least} pixels or more, got {self.short_side}")

    @property
    def one_size(self) -> bool:
        """Whether the views of all photos have the same size."""
        return self.kind in ("crop", "warp", "ten")

    def __str__(self) -> str:
        return f"{self.kind} {self.short_side}" if not self.kind.startswith("maps") else self.kind


def vectors(
    extractor: Extractor, photo: Photo, view: View, layers: Sequence[Layer]
) -> dict[Layer, NDArray[np.float32]]:
    """Compute the outputs of some layers for each view of a photo.

    Args:
        extractor: the network.
        photo: uint8 RGB (H, W, 3).
        view: parts of the photo to show to the network.
        layers: names of the layers.

    Returns:
        float32 (V, D) per layer, one row per view; V is 1, 10, 96 or 98.

    Raises:
        ValueError: the network has no such layer or does not accept images of this size, or the length of a layer's
            output would depend on the size of the photo.
    """
    for layer in layers:
        if layer in ("conv4", "conv5") and not view.one_size:
            raise ValueError(
                f"{layer}: its length depends on the size of the photo; use the crop or warp view, or layer spp"
            )
        extractor.check(layer)
    if view.kind.startswith("maps"):
        if extractor.fixed_size:
            raise ValueError(
                f"view {view.kind}: needs a network with spatial pyramid pooling; use the crop or ten view"
            )
        parts = list(_windows(extractor, photo, layers))
        whole = _mirrored(_whole(photo, SHORT_SIDE)) if view.kind == "maps+full" else []
    else:
        parts, whole = [], images(photo, view)
    for image in whole:
        found = extractor.vectors(np.ascontiguousarray(image), layers)
        parts.append({layer: vector[None] for layer, vector in found.items()})
    return {layer: torch.cat([part[layer] for part in parts]).cpu().numpy() for layer in layers}


def images(photo: Photo, view: View) -> list[Photo]:
    """Return the images to run through the network for "crop", "warp", "full" and "ten", each uint8 RGB (H, W, 3)."""
    if view.kind == "warp":
        side = view.short_side
        return [pixels_of(cv2.resize(photo, (side, side), interpolation=cv2.INTER_LINEAR))]
    if view.kind == "full":
        return [_whole(photo, view.short_side)]
    resized = resize_short_side(photo, view.short_side)
    places = crop_positions((resized.shape[0], resized.shape[1]))
    if view.kind == "crop":
        return [cut(resized, places[0])]
    return [cut(image, place) for image in _mirrored(resized) for place in places]


def window_boxes(size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the 224-pixel windows of an image of (H, W) pixels: centre, corners and middles of the sides.

    Returns:
        float64 (9, 4) xyxy, 0-based inclusive pixels; (3, 4) if the short side is 224 pixels.
    """
    starts = [[0, (side - CROP) // 2, side - CROP] for side in size]
    if min(size) == CROP:
        starts[size.index(CROP)] = [0]
    return np.array([(x, y, x + CROP - 1, y + CROP - 1) for y in starts[0] for x in starts[1]], np.float64)


def _windows(extractor: Extractor, photo: Photo, layers: Sequence[Layer]) -> Iterator[dict[Layer, torch.Tensor]]:
    """Yield the layers' outputs for the windows of each scale, of the photo and of its mirror image."""
    body = extractor.body
    for side in MULTI_VIEW_SCALES:
        for image in _mirrored(resize_short_side(photo, side)):
            conv5 = extractor.map(np.ascontiguousarray(image))
            boxes = window_boxes((image.shape[0], image.shape[1]))
            cells = spp.project(boxes, conv5.shape[1:], body.stride, body.center)
            maps = [conv5.numpy()] if conv5.device.type == "cpu" else [conv5]
            found: dict[Layer, torch.Tensor] = {}
            for layer in layers:
                levels = extractor.pooled_levels(layer)
                pooled = spp.pyramid_pool(maps, cells, np.zeros(len(cells), np.int64), levels, channels_last=True)
                found[layer] = extractor.from_pooled(torch.as_tensor(pooled), layer)
            yield found


def _whole(photo: Photo, short_side: int) -> Photo:
    """Resize a photo that is shown as a whole; elongated ones to a bounded size."""
    return resize_short_side(photo, short_side_for((photo.shape[0], photo.shape[1]), short_side))


def _mirrored(image: Photo) -> list[Photo]:
    """Return an image and its mirror image."""
    return [image, image[:, ::-1]]
