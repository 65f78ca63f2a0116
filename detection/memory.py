"""Memory of the C library: large blocks that are used again, and constant use in long loops over photos."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # parameters of glibc's mallopt
LARGE = 1 << 30  # bytes
EVERY = 20  # items between two returns of memory; each costs milliseconds, and new allocations afterwards


def reuse_large_blocks() -> None:
    """Let this process keep the memory of large arrays that it frees, and use large pages, if its system can.

    glibc returns blocks of more than 32 MB to the system as soon as they are freed, and each first touch of new memory
    costs time, a tenth of that of the convolutions. To be called before torch computes. Such settings of a process are
    an application's to choose, so only the command line calls this.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch's large pages
    mallopt = _c_function("mallopt")
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGE)
        mallopt(TRIM_THRESHOLD, LARGE)


def kept_flat(items: Iterable[T]) -> Iterator[T]:
    """Yield the items, and return free memory to the system every `EVERY` items.

    Feature maps of photos of different sizes leave gaps that glibc keeps: half a megabyte per photo over thousands of
    photos.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % EVERY == 0:
            _trim()


def _trim() -> None:
    """Return free memory to the system, if the C library is glibc."""
    trim = _c_function("malloc_trim")
    if trim is not None:
        trim(0)


def _c_function(name: str) -> Callable[..., int] | None:
    """Return a function of the C library; None if the system's has none of this name."""
    if os.name != "posix":
        return None
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return found
