"""The engine of processes on this machine."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loky import BrokenProcessPool, ProcessPoolExecutor
from loky.backend import get_context
from loky.backend.reduction import cloudpickle

from detection.engines import workers
from detection.engines.engine import Make, R, T, WorkerLost, failed
from detection.temporary import remove_leftovers, temporary_path

QUEUE = 2  # items submitted per worker: the one at work and the next; an interrupted run finishes both

_make: Make[Any, Any] | None = None  # of a worker process
_work: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Processes:
    """Does the work in processes that end with this one, see `Engine`.

    Unlike multiprocessing's, the workers do not import the caller's main module: scripts need no
    `if __name__ == "__main__"`, and notebooks work. They ignore Ctrl-C: if the caller stops early, items that are
    submitted are finished first. If a worker is killed, the items that were submitted are tried again, one at a time.

    Args:
        workers: number of processes.
        threads: threads of each.
    """

    workers: int
    threads: int = 1

    def map(self, make: Make[T, R], items: Iterable[T]) -> Generator[tuple[T, Future[R]], None, None]:
        """Yield each item with its finished future, see `Engine.map`."""
        waiting = iter(items)
        while suspects := (yield from self._until_one_dies(make, waiting)):
            for item in suspects:
                yield item, self._alone(make, item)

    def _until_one_dies(self, make: Make[T, R], waiting: Iterator[T]) -> Generator[tuple[T, Future[R]], None, list[T]]:
        """Work on items until there are none, or until a worker dies; return the items that were submitted then."""
        running: dict[Future[R], T] = {}
        with self._pool(make, self.workers) as pool:
            while True:
                with interrupts_held():  # submitting starts the workers
                    for item in itertools.islice(waiting, QUEUE * self.workers - len(running)):
                        running[_submitted(pool, item)] = item
                if not running:
                    return []
                done = wait(running, return_when=FIRST_COMPLETED).done
                lost = any(isinstance(future.exception(), BrokenProcessPool) for future in done)
                if lost:
                    done = wait(running).done
                for future in sorted(done, key=list(running).index):
                    if not isinstance(future.exception(), BrokenProcessPool):
                        yield running.pop(future), future
                if lost:
                    return list(running.values())

    def _alone(self, make: Make[T, R], item: T) -> Future[R]:
        """Work on one item in a process of its own."""
        with self._pool(make, 1) as pool:
            with interrupts_held():
                future: Future[R] = _submitted(pool, item)
            error = future.exception()
        if isinstance(error, BrokenProcessPool):
            return failed(WorkerLost("the process that worked on it ended twice; perhaps memory ran out"))
        return future

    @contextmanager
    def _pool(self, make: Make[T, R], workers: int) -> Generator[ProcessPoolExecutor, None, None]:
        """Give workers that read `make` from a file: what does not fit into the pipe to a worker that is killed before
        it reads would be waited for forever."""
        folder = Path(tempfile.gettempdir())
        remove_leftovers(folder)
        made = temporary_path(folder / "sppnet-make")
        try:
            with made.open("xb") as file:
                file.write(cloudpickle.dumps(make))
            setup = _setup(made, self.threads)
            with ProcessPoolExecutor(workers, context=get_context("loky"), initializer=setup) as pool:
                yield pool
        finally:
            made.unlink(missing_ok=True)


def _submitted(pool: ProcessPoolExecutor, item: Any) -> Future[Any]:
    """Submit an item; the future of a pool that has just lost a worker says so, as those before it do."""
    try:
        future: Future[Any] = pool.submit(_do, item)
    except BrokenProcessPool as error:
        return failed(error)
    except BrokenPipeError as error:  # a worker ended before it had read what it needs to start
        return failed(BrokenProcessPool(str(error)))
    return future


@contextmanager
def interrupts_held() -> Generator[None, None, None]:
    """Hold Ctrl-C back until the end of the block. Processes started in it never get it, not even while they import."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # loky starts it with the first worker, and its start lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _setup(made: Path, threads: int) -> Callable[[], None]:
    """Return the function that every worker calls first.

    Args:
        made: file with the pickled `make`.
        threads: of a worker.
    """
    root, parent, path = str(workers.ROOT), os.getpid(), str(made)

    # A nested function is pickled by value, so it runs before the worker imports any package of this project.
    def setup() -> None:
        sys.path.insert(0, root)
        from detection.engines import workers

        workers.import_packages()
        sys.path.remove(root)
        from detection.engines.processes import _start_worker

        _start_worker(parent, path, threads)

    return setup


def _start_worker(parent: int, made: str, threads: int) -> None:
    """Ignore Ctrl-C, so that items under way are finished; end with the caller; use so many threads."""
    global _make
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
    workers.use_threads(threads)
    _make = pickle.loads(Path(made).read_bytes())


def _end_after(parent: int) -> None:
    """End this process once its parent has ended, even if that was killed: it is then the child of another process."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _do(item: Any) -> Any:
    """Work on one item; the first one of a worker makes its function."""
    global _work
    if _work is None:
        assert _make is not None
        _work = _make()
    return _work(item)
