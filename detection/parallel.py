"""Threads for kernels that release the GIL.

They are plain Python threads instead of numba's parallel loops: numba's fallback threading layer aborts the process
when two Python threads enter it at once, as in a server around a detector.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")


def thread_count() -> int:
    """Return the number of threads that torch uses, so that one setting governs both; at most one per core."""
    return max(1, min(torch.get_num_threads(), os.cpu_count() or 1))


def for_each_chunk(work: Callable[[int, int], None], n: int, threads: int | None = None) -> None:
    """Call `work(start, stop)` on contiguous chunks of [0, n), one chunk per thread.

    Args:
        work: function that changes only the items of its chunk and releases the GIL while it runs.
        n: number of items.
        threads: number of threads; None: `thread_count()`.
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


def ahead(
    work: Callable[[T], R], items: Iterable[T], depth: int = 2, threads: int = 1
) -> Generator[tuple[T, Future[R]], None, None]:
    """Yield each item with its result, in order, while other threads work on the next `depth` items.

    Args:
        work: function of one item, called in other threads.
        items: the items, consumed as results are taken; may be infinite.
        depth: number of results that are computed in advance.
        threads: number of threads.

    Raises:
        RuntimeError: a forked process continues a loop that its parent began.
    """
    owner = os.getpid()
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > depth:
                    yield waiting.popleft()
                    _check_owner(owner)
            while waiting:
                yield waiting.popleft()
                _check_owner(owner)
        finally:
            for _, future in waiting:  # the caller stopped early
                future.cancel()


def _check_owner(owner: int) -> None:
    if os.getpid() != owner:
        raise RuntimeError("this loop began before the process was forked; begin a new one in the forked process")


@contextmanager
def single_threaded_torch() -> Iterator[int]:
    """Let torch use one thread in the caller and in threads that start meanwhile; give the number that it had."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


@contextmanager
def torch_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads, each of which computes alone what it computes with torch.

    Threads that take turns with torch's own wait for these: torch's keep spinning for a while after their work.

    Args:
        count: number of threads.
    """
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)  # what threads that start later take; the caller's own number never changed


class _SingleThreadedBlas:
    """Context that limits BLAS to one thread; the last of several simultaneous callers restores the old limit."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin without callers; in a forked process those of other threads are gone."""
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
    """Return the loaded BLAS libraries, numpy's among them."""
    return ThreadpoolController()


single_threaded_blas = _SingleThreadedBlas()
"""Context in which numpy computes matrix products in the calling thread, for threads that run in parallel."""

os.register_at_fork(after_in_child=single_threaded_blas.renew)
