"""Gaussian filters in integer arithmetic.

Integer sums do not depend on the width of vector registers, so proposals are the same on every machine.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

TAP_BITS = 10  # taps sum to 1024, so 8-bit pixels stay below 2**28 after two passes


def gaussian_taps(sigma: float) -> NDArray[np.int32]:
    """Return the taps of a Gaussian out to four sigmas: int32 (2 r + 1,), symmetric, with sum 2**TAP_BITS exactly."""
    radius = max(1, int(np.ceil(4 * sigma)))
    x = np.arange(-radius, radius + 1)
    weight = np.exp(-0.5 * (x / sigma) ** 2)
    taps = np.rint(weight / weight.sum() * 2**TAP_BITS).astype(np.int32)
    taps[radius] += 2**TAP_BITS - taps.sum()
    return taps


def derivative_taps(sigma: float) -> NDArray[np.int32]:
    """Return the taps of a Gaussian derivative: int32 (2 r + 1,), antisymmetric, positive for a rise to the right."""
    radius = max(1, int(np.ceil(4 * sigma)))
    x = np.arange(-radius, radius + 1)
    weight = x / sigma**2 * np.exp(-0.5 * (x / sigma) ** 2)
    return np.rint(weight / np.abs(weight).sum() * 2**TAP_BITS).astype(np.int32)


@numba.njit(nogil=True, cache=True)
def correlate(
    plane: NDArray[np.uint8], column_taps: NDArray[np.int32], row_taps: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Correlate along x with `row_taps`, then along y with `column_taps`; border pixels are repeated.

    Args:
        plane: uint8 (H, W).
        column_taps, row_taps: int32 of odd length, with absolute sums of at most 2**TAP_BITS.

    Returns:
        int32 (H, W), scaled by 2**(2 * TAP_BITS).
    """
    height, width = plane.shape
    radius = len(row_taps) // 2
    rows = np.zeros((height, width), np.int32)
    line = np.empty(width + 2 * radius, np.int32)  # a row with its border repeated
    for y in range(height):
        line[:radius] = plane[y, 0]
        line[radius : radius + width] = plane[y]
        line[radius + width :] = plane[y, width - 1]
        for t in range(len(row_taps)):
            for x in range(width):
                rows[y, x] += row_taps[t] * line[x + t]
    radius = len(column_taps) // 2
    out = np.zeros((height, width), np.int32)
    for y in range(height):
        for t in range(len(column_taps)):
            source = min(max(y + t - radius, 0), height - 1)
            for x in range(width):
                out[y, x] += column_taps[t] * rows[source, x]
    return out
