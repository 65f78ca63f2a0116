"""Threads for kernels that release the GIL.

Plain threads rather than numba's own parallel loops: its fallback threading layer aborts the process when
two Python threads enter it at once, which is what a server around a detector does.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController


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


class _SingleThreadedBlas:
    """How many callers want matrix products by one thread; the last to leave restores what was before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callers = 0
        self._limits = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._callers += 1
            if self._callers == 1:
                self._limits.enter_context(_libraries().limit(limits=1, user_api="blas"))
        try:
            yield
        finally:
            with self._lock:
                self._callers -= 1
                if self._callers == 0:
                    self._limits.close()


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS libraries that are loaded; numpy's is."""
    return ThreadpoolController()


single_threaded_blas = _SingleThreadedBlas()
"""A context in which numpy's products are made by the thread that asks: for threads that each make their own."""
