"""Literal reference of detection.spp: one window, one bin, one cell at a time, in exact arithmetic."""

import math
from fractions import Fraction


def project_one(low, high, cells, stride, center, offset=None):
    """Return the first and last 0-based cell on one axis of a window, by search over all cells."""
    tolerance = 0 if offset is None else stride / 2 - offset
    inside = [i for i in range(-1000, 2000) if low - tolerance < center + stride * i < high + tolerance]
    if inside:
        first, last = inside[0], inside[-1]
    elif offset is None:
        first = last = math.floor((low + high) / 2 / stride - center / stride + 0.5)
    else:
        left = math.floor((low - center + offset) / stride + 0.5) + 1
        right = math.ceil((high - center - offset) / stride - 0.5) + 1
        first = last = int((left + right) / 2) - 1
    return min(max(first, 0), cells - 1), min(max(last, 0), cells - 1)


def pyramid_pool_one(map_chw, window, levels):
    """Return the pooled vector of one window as a list."""
    x0, y0, x1, y1 = window
    h, w = y1 - y0 + 1, x1 - x0 + 1
    values = []
    for n in levels:
        for channel in map_chw:
            for i in range(n):
                for j in range(n):
                    rows = range(y0 + math.floor(Fraction(i * h, n)), y0 + math.ceil(Fraction((i + 1) * h, n)))
                    columns = range(x0 + math.floor(Fraction(j * w, n)), x0 + math.ceil(Fraction((j + 1) * w, n)))
                    values.append(max(float(channel[y, x]) for y in rows for x in columns))
    return values
