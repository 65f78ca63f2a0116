"""Colour spaces of selective search, as 8-bit planes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.uint8]

SPACES = ("hsv", "lab", "rgi", "h", "i")


def planes(image: NDArray[np.uint8], space: str) -> Planes:
    """Convert an image to a colour space, 8 bits per channel.

    Args:
        image: uint8 RGB (H, W, 3).
        space: one of `SPACES`: "hsv" (hue in steps of 2 degrees), "lab", "rgi" (R and G divided by R + G + B, and
            intensity), "h" (hue only), "i" (intensity only).

    Returns:
        uint8 (C, H, W), C = 3 or 1.

    Source: IJCV 2013, section 3.2; 8-bit conversions as OpenCV's.
    """
    if space in ("hsv", "h"):
        channels = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[:, :, : 3 if space == "hsv" else 1]
    elif space == "lab":
        channels = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    elif space == "rgi":
        channels = _rgi(image)
    elif space == "i":
        channels = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None]
    else:
        raise ValueError(f"space: expected one of {', '.join(SPACES)}, got {space!r}")
    return np.ascontiguousarray(channels.transpose(2, 0, 1))  # (C, H, W)


def _rgi(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return R and G divided by R + G + B, scaled to 255, and intensity: uint8 (H, W, 3)."""
    wide = image.astype(np.int32)
    total = np.maximum(wide.sum(2, keepdims=True), 1)
    shares = 255 * wide[:, :, :2] // total  # (H, W, 2)
    return np.dstack([shares.astype(np.uint8), cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)])
