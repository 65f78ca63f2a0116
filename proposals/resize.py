"""Large photos are searched downsized, and their boxes scaled back."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def shrink(image: NDArray[np.uint8], max_side: int) -> NDArray[np.uint8]:
    """The image with its longer side at most `max_side`."""
    height, width = image.shape[:2]
    ratio = max_side / max(height, width)
    if ratio >= 1:
        return image
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    shrunk: NDArray[Any] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return shrunk.astype(np.uint8, copy=False)


def enlarge(boxes: NDArray[np.int32], searched: tuple[int, ...], image: tuple[int, ...]) -> NDArray[np.float64]:
    """Boxes of the searched image, whole pixels, in the image: (R, 4), two (H, W) -> (R, 4); pixel edges to edges."""
    scale = np.array([image[1] / searched[1], image[0] / searched[0]])
    return np.hstack([boxes[:, :2] * scale, (boxes[:, 2:] + 1) * scale - 1])
