"""The engine without other processes."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from detection.engines.engine import Make, R, T, settled


@dataclass(frozen=True)
class ThisProcess:
    """Does the work in this process, see `Engine`; results come in the order of the items.

    Args:
        threads: with 1, an item is worked on when its result is wanted; with more, threads work ahead, which pays for
            work that releases the GIL.
    """

    threads: int = 1

    def map(self, make: Make[T, R], items: Iterable[T]) -> Generator[tuple[T, Future[R]], None, None]:
        """Yield each item with its finished future, see `Engine.map`."""
        work = make()
        if self.threads == 1:
            for item in items:
                yield item, settled(lambda item=item: work(item))  # type: ignore[misc]
        else:
            from detection.parallel import ahead  # imports torch

            yield from ahead(work, items, self.threads, self.threads)
