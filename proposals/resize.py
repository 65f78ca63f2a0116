"""Downsizing of large images before the search, and scaling of the boxes found."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def shrink(image: NDArray[np.uint8], max_side: int) -> NDArray[np.uint8]:
    """Downsize an image so that its longer side is at most `max_side` pixels."""
    height, width = image.shape[:2]
    ratio = max_side / max(height, width)
    if ratio >= 1:
        return image
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    shrunk: NDArray[Any] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return shrunk.astype(np.uint8, copy=False)


def enlarge(boxes: NDArray[np.int32], searched: tuple[int, ...], image: tuple[int, ...]) -> NDArray[np.float64]:
    """Scale boxes from the searched image to the original image, pixel edges to pixel edges.

    Args:
        boxes: int32 (R, 4), xyxy, 0-based inclusive pixels of the searched image.
        searched: (H, W) of the searched image.
        image: (H, W) of the original image.

    Returns:
        float64 (R, 4), xyxy, 0-based inclusive pixels of the original image.
    """
    scale = np.array([image[1] / searched[1], image[0] / searched[0]])
    return np.hstack([boxes[:, :2] * scale, (boxes[:, 2:] + 1) * scale - 1])
