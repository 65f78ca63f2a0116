"""Arrays in half precision for files: one factor an array keeps its values where halves are dense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
FACTOR = ".factor"
MIN_SIZE = 1024  # elements; smaller arrays stay as they are


def to_half(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """float16 in the place of large float32 arrays, scaled to a largest magnitude of 1, and their factors beside them.

    Rounding errors are within 2^-11 of a value, or 2^-25 of the largest one where that is more.

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
            raise ValueError(f"{name}: holds values that are not finite, half precision was not written")
        factor = np.float32(largest or 1)
        out[name], out[name + FACTOR] = (array / factor).astype(np.float16), np.array([factor])
    return out


def from_half(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Inverse of `to_half`, up to rounding; arrays that it left alone are handed through."""
    return {
        name: array.astype(np.float32) * arrays[name + FACTOR] if name + FACTOR in arrays else array
        for name, array in arrays.items()
        if not name.endswith(FACTOR)
    }
