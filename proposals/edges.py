"""Edge detection for EdgeBoxes: strength, orientation, and thinning to lines of one pixel.

The detector needs no model. It relates the Gaussian colour gradient to the gradients in its surroundings, so that a
faint outline on an even background is an edge, and texture, with similar gradients everywhere, is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from detection.image import as_rgb

# Chosen on photos by the recall of EdgeBoxes at equal time; see docs/differences.md.
SIGMA = 2.0  # px, of the Gaussian derivatives
SURROUND_SIGMA = 8.0  # px, of the surroundings that a gradient is related to
SURROUND_WEIGHT = 2.0  # weight of the mean gradient of the surroundings
FLOOR = 0.02  # gradient that gives a relative gradient of one half on an even background; 1: from black to white
LEAST = 0.1  # smallest relative gradient of an edge

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class EdgeMap:
    """Edge strength and orientation of each pixel.

    Attributes:
        strength: float32 (H, W), 0 to 1.
        orientation: float32 (H, W), direction across the edge in radians, in [0, pi); 0 is along x.
    """

    strength: Floats
    orientation: Floats

    def __post_init__(self) -> None:
        s, o = self.strength, self.orientation
        if s.ndim != 2 or s.shape != o.shape:
            raise ValueError(f"edges: expected strength and orientation (H, W), got {s.shape} and {o.shape}")
        if not (np.isfinite(s).all() and np.isfinite(o).all()):
            raise ValueError("edges: expected finite numbers, got NaN or infinity")


def detect_edges(image: NDArray[np.uint8]) -> EdgeMap:
    """Detect edges by their colour gradients, without thinning.

    Args:
        image: uint8, RGB (H, W, 3) or grey (H, W).
    """
    lab = cv2.cvtColor(as_rgb(image), cv2.COLOR_RGB2LAB).astype(np.float32) / np.float32(255)
    magnitude, doubled = _gradient(lab)
    around = cv2.GaussianBlur(magnitude, (0, 0), SURROUND_SIGMA)
    relative = magnitude / (magnitude + SURROUND_WEIGHT * around + FLOOR)
    strength = np.maximum((relative - LEAST) / (1 - LEAST), 0) ** 2
    return EdgeMap(strength.astype(np.float32), _half_angle(doubled))


def thin(edges: EdgeMap) -> EdgeMap:
    """Keep the strength of pixels that are maxima across the edge: at least as strong as one pixel to either side."""
    return EdgeMap(_suppress(edges.strength, edges.orientation), edges.orientation)


def _gradient(planes: Floats) -> tuple[Floats, Floats]:
    """Compute the gradient over all channels, by the structure tensor.

    Args:
        planes: float32 (H, W, C).

    Returns:
        float32 (H, W), largest change over a distance of SIGMA; float32 (2, H, W), vector with twice its direction.
    """
    radius = round(3 * SIGMA)
    x = np.arange(-radius, radius + 1, dtype=np.float32)
    smooth = np.exp(-0.5 * (x / SIGMA) ** 2)
    smooth /= smooth.sum()
    slope = SIGMA * x * smooth / (x * x * smooth).sum()  # a ramp of 1 over SIGMA gives 1
    dx, dy = cv2.sepFilter2D(planes, -1, slope, smooth), cv2.sepFilter2D(planes, -1, smooth, slope)
    xx, yy, xy = ((a * b).sum(axis=2) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    doubled = np.stack([xx - yy, 2 * xy])  # structure tensor
    return np.sqrt((xx + yy + np.hypot(*doubled)) / 2), doubled


def _half_angle(doubled: Floats) -> Floats:
    """Halve the angle of a vector: (2, H, W) -> float32 (H, W), radians in [0, pi)."""
    angle = 0.5 * np.arctan2(doubled[1], doubled[0])
    angle += np.float32(np.pi) * (angle < 0)
    return np.where(angle < np.float32(np.pi), angle, np.float32(0)).astype(np.float32)


@numba.njit(nogil=True, cache=True)
def _suppress(strength: Floats, orientation: Floats) -> Floats:
    """Set pixels to zero that are not maxima across the edge; see `thin`."""
    height, width = strength.shape
    out = np.zeros_like(strength)
    for y in range(height):
        for x in range(width):
            value = strength[y, x]
            if value == 0:
                continue
            dx, dy = np.cos(orientation[y, x]), np.sin(orientation[y, x])
            if value >= _between(strength, y + dy, x + dx) and value >= _between(strength, y - dy, x - dx):
                out[y, x] = value
    return out


@numba.njit(nogil=True, cache=True, inline="always")
def _between(plane: Floats, y: float, x: float) -> float:
    """Interpolate bilinearly at a point; border pixels are repeated."""
    height, width = plane.shape
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    fy, fx = y - y0, x - x0
    top = plane[y0, x0] * (1 - fx) + plane[y0, x1] * fx
    bottom = plane[y1, x0] * (1 - fx) + plane[y1, x1] * fx
    return float(top * (1 - fy) + bottom * fy)
