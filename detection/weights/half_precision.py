"""Storage of arrays in half precision, scaled by one factor per array to the range where float16 is precise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
FACTOR = ".factor"
MIN_SIZE = 1024  # elements; smaller arrays are not converted


def to_half(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Convert large float32 arrays to float16, scaled to a largest magnitude of 1.

    The rounding error of a value is at most 2^-11 of the value or 2^-25 of the array's largest magnitude, whichever is
    larger.

    Args:
        arrays: arrays by name.

    Returns:
        All arrays, and for each converted one its float32 factor (1,) under the name + `FACTOR`.

    Raises:
        ValueError: a value is not finite.
    """
    out: Arrays = {}
    for name, array in arrays.items():
        if array.dtype != np.float32 or array.size < MIN_SIZE:
            out[name] = array
            continue
        largest = np.abs(array).max()
        if not np.isfinite(largest):
            raise ValueError(f"{name}: holds values that are not finite; it cannot be stored in half precision")
        factor = np.float32(largest or 1)
        out[name], out[name + FACTOR] = (array / factor).astype(np.float16), np.array([factor])
    return out


def from_half(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Undo `to_half`, up to rounding."""
    return {
        name: array.astype(np.float32) * arrays[name + FACTOR] if name + FACTOR in arrays else array
        for name, array in arrays.items()
        if not name.endswith(FACTOR)
    }
