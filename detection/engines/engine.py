"""What an engine is: a way to do the same work on many images."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import Any, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")

Make: TypeAlias = Callable[[], Callable[[T], R]]
"""Called once per worker, it returns the function of an item; it may load a network first."""


class WorkerLost(RuntimeError):
    """An item whose worker process ended each time it was tried, for example for want of memory."""


class Engine(Protocol):
    """Does the same work on many items.

    The result of an item depends on the item alone, so engines differ in time and in the order of results only.
    """

    def map(self, make: Make[T, R], items: Iterable[T]) -> Generator[tuple[T, Future[R]], None, None]:
        """Yield each item with its finished future, in any order.

        The future raises what the work on the item raised, or `WorkerLost`; the other items are unharmed. Only a few
        items per worker are taken from `items` before their results are wanted, so there may be any number. Close the
        generator to stop early.

        Args:
            make: see `Make`. `make`, items, results and errors travel between processes, by pickle.
            items: the items, each independent of the others.

        Raises:
            OSError, RuntimeError, ModuleNotFoundError: there are no workers.
        """


def settled(work: Callable[[], R]) -> Future[R]:
    """Return a finished future with what a call returned or raised."""
    future: Future[R] = Future()
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
    return future


def failed(error: BaseException) -> Future[Any]:
    """Return a finished future that raises an error."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
