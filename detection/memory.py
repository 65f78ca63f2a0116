"""Memory of long loops over photos."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
EVERY = 20  # items; giving back takes some milliseconds, and what is given back must be taken anew


def kept_flat(items: Iterable[T]) -> Iterator[T]:
    """The items; now and then memory that is free goes back to the system.

    Maps of photos of different sizes leave gaps that glibc keeps: half a megabyte a photo over thousands of them.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % EVERY == 0:
            _trim()


def _trim() -> None:
    """Where the C library is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
