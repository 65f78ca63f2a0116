"""Threads for kernels that release the GIL.

Plain threads rather than numba's own parallel loops: its fallback threading layer aborts the process when
two Python threads enter it at once, which is what a server around a detector does.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")


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


def ahead(work: Callable[[T], R], items: Iterable[T], depth: int = 2) -> Iterator[tuple[T, Future[R]]]:
    """Each item and its result, in order, while a thread is at work on the next `depth` ones.

    Args:
        work: called in one other thread, an item at a time.
        items: taken from as results are; may be endless.
        depth: how many results are made before they are asked for.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[tuple[T, Future[R]]] = deque()
        try:
            for item in items:
                waiting.append((item, thread.submit(work, item)))
                if len(waiting) > depth:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, future in waiting:  # the caller has had enough
                future.cancel()


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
