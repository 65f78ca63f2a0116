"""Threads for kernels that release the GIL.

Plain threads rather than numba's own parallel loops: its fallback threading layer aborts the process when
two Python threads enter it at once, which is what a server around a detector does.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def thread_count() -> int:
    """Threads to use: what torch was told to use, so that one setting governs both."""
    return max(1, min(torch.get_num_threads(), os.cpu_count() or 1))


def for_each_chunk(work: Callable[[int, int], None], n: int, threads: int | None = None) -> None:
    """Call `work(start, stop)` over [0, n) in one contiguous chunk a thread.

    Args:
        work: touches only the items of its chunk, and releases the GIL while it runs.
        n: number of items.
        threads: None for `thread_count()`.
    """
    threads = min(threads or thread_count(), n)
    if threads <= 1:
        if n:
            work(0, n)
        return
    edges = [i * n // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, a, b) for a, b in itertools.pairwise(edges)]:
            done.result()
