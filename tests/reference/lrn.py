"""Literal reference of `detection.networks.geometry.WithinChannelLRN`: Caffe's definition, one output at a time."""

import numpy as np


def within_channel_lrn(x: np.ndarray, size: int, alpha: float, beta: float) -> np.ndarray:
    """(C, h, w) -> float64 (C, h, w). At borders the window is clipped and the divisor stays size * size."""
    x = x.astype(np.float64)
    channels, height, width = x.shape
    reach = size // 2
    out = np.zeros_like(x)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                total = 0.0
                for y in range(max(i - reach, 0), min(i + reach + 1, height)):
                    for z in range(max(j - reach, 0), min(j + reach + 1, width)):
                        total += x[c, y, z] ** 2
                out[c, i, j] = x[c, i, j] * (1 + alpha / (size * size) * total) ** -beta
    return out
