"""The engine of a Ray cluster: one machine, or many that share the folders of photos and runs."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from detection.engines import workers
from detection.engines.engine import Make, R, T, WorkerLost, failed, settled
from detection.engines.ray_connection import connected

log = logging.getLogger(__name__)

QUEUE = 2  # items per actor: the one at work and the next
ATTEMPTS = 2  # actors with one item alone that may die before it is given up
PATIENCE = 30.0  # seconds without news after which a line says what is waited for
NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS))  # what one node may lack and others have


@dataclass(frozen=True)
class RayCluster:
    """Does the work in actors of a Ray cluster, see `Engine`.

    Each actor holds what `make` returns, for example a network, and works on one item at a time. If an actor or its
    node dies, another takes its place and its items; what it had finished stays. A node that cannot write, because its
    disk is full for example, gets no further items as long as another node works; its items are tried there.

    Args:
        address: of a running cluster: "auto", "HOST:PORT" or "ray://HOST:PORT"; None: the one that this program is
            connected to, or else a new one on this machine, which ends with this program.
        workers: number of actors; None: as many as the cluster has room for.
        cpus: cores of each.
        gpus: GPUs of each.
    """

    address: str | None = None
    workers: int | None = None
    cpus: int = 1
    gpus: float = 0

    def map(self, make: Make[T, R], items: Iterable[T]) -> Generator[tuple[T, Future[R]], None, None]:
        """Yield each item with its finished future, see `Engine.map`."""
        waiting = iter(items)
        first = list(itertools.islice(waiting, 1))
        if not first:
            return
        ray = connected(self.address, self.workers)
        crew = _Crew(ray, make, itertools.chain(first, waiting), self.cpus, self.gpus)
        try:
            for _ in range(self.workers or self._room(ray)):
                crew.hire()
            yield from crew.work()
        finally:
            crew.dismiss()

    def _room(self, ray: Any) -> int:
        """Number of actors that the cluster has room for."""
        there = ray.cluster_resources()
        room = there.get("CPU", 1) // self.cpus
        return max(1, int(min(room, there.get("GPU", 0) // self.gpus) if self.gpus else room))


@dataclass(eq=False)
class _Task:
    """An item, whether an actor that had it died, and how many died that had nothing else."""

    item: Any
    suspect: bool = False
    deaths: int = 0


@dataclass(eq=False)
class _Hand:
    """One actor, what it was given to do, oldest first, and whether it has started."""

    actor: Any
    starting: Any  # reference to the result of its start
    tasks: deque[tuple[_Task, Any]] = field(default_factory=deque)  # with references to their results
    ready: bool = False
    node: str = ""  # name of its machine
    node_id: str = ""  # Ray's, as several nodes may be on one machine

    @property
    def awaited(self) -> Any:
        """Reference to the next result; None if the actor is idle."""
        return self.tasks[0][1] if self.tasks else None if self.ready else self.starting


class _Crew:
    """The actors of one map.

    Args:
        ray: the module, connected.
        make: see `Make`.
        items: the items.
        cpus, gpus: resources of each actor.
    """

    def __init__(self, ray: Any, make: Make[T, R], items: Iterable[T], cpus: int, gpus: float) -> None:
        self.ray, self.cpus = ray, cpus
        self.made = ray.put(ray.cloudpickle.dumps(make))
        self.waiting = map(_Task, items)
        self.again: deque[_Task] = deque()  # of actors that died
        self.actor = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(_actor_class())
        self.hands: list[_Hand] = []
        self.unable: set[str] = set()  # ids of nodes that cannot write
        self.code, self.false_starts = workers.code_digest(), 0
        self.finished: Counter[str] = Counter()  # items per node
        self.started = time.monotonic()

    def hire(self) -> None:
        """Start an actor as soon as the cluster has room."""
        actor = self.actor.remote()
        given = str(workers.ROOT), os.getcwd(), self.code, self.made, self.cpus
        self.hands.append(_Hand(actor, actor.start.remote(*given)))

    def dismiss(self) -> None:
        """End all actors, and tell what each node has done."""
        for hand in self.hands:
            self.ray.kill(hand.actor)
        seconds = time.monotonic() - self.started
        for node, count in self.finished.most_common():
            log.info("Ray node %s: %d items, %.3g per second", node, count, count / seconds)

    def work(self) -> Generator[tuple[Any, Future[Any]], None, None]:
        """Yield the items with their futures."""
        while True:
            all_given = self._hand_out()
            awaited = {hand.awaited: hand for hand in self.hands if hand.awaited is not None}
            if all_given and not any(hand.tasks for hand in self.hands):
                return
            done, _ = self.ray.wait(list(awaited), timeout=PATIENCE)
            if not done and not any(hand.ready for hand in self.hands):
                log.warning("waiting for a Ray worker of %d cores; the cluster has %s", self.cpus, self._resources())
            for reference in done:
                yield from self._finished(awaited[reference], reference)

    def _hand_out(self) -> bool:
        """Give items to actors that have started, evenly, suspects alone; return whether there are none left."""
        for length in range(QUEUE):
            for hand in self._able():
                if hand.ready and len(hand.tasks) == length and not any(task.suspect for task, _ in hand.tasks):
                    task = self.again.popleft() if self.again and not length else next(self.waiting, None)
                    if task is None:
                        return not self.again
                    hand.tasks.append((task, hand.actor.do.remote(task.item)))
        return False

    def _finished(self, hand: _Hand, reference: Any) -> Iterator[tuple[Any, Future[Any]]]:
        """Take a result, or see that the actor started or died."""
        try:
            result = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            if not hand.ready:  # the network cannot be loaded there, for example
                raise error.cause from None
            yield from self._failed(hand, error.cause)
        except self.ray.exceptions.RayError as error:
            yield from self._replaced(hand, " ".join(str(error).split()))
        else:
            if hand.ready:
                self.finished[hand.node] += 1
                yield hand.tasks.popleft()[0].item, settled(lambda: result)
                return
            hand.node, hand.node_id, problem = result
            if problem:
                raise RuntimeError(f"node {hand.node}: {problem}; install the same version there as here")
            hand.ready, self.false_starts = True, 0

    def _able(self) -> list[_Hand]:
        """Return the actors on nodes that can write, or may once they have started; all of them if there are none."""
        young = time.monotonic() - self.started < PATIENCE
        able = [hand for hand in self.hands if hand.node_id not in self.unable and (hand.ready or young)]
        return able or self.hands

    def _failed(self, hand: _Hand, error: Exception) -> Iterator[tuple[Any, Future[Any]]]:
        """Pass on what the work on an item raised, unless another node may be able to do it."""
        task = hand.tasks.popleft()[0]
        if isinstance(error, OSError) and error.errno is not None:  # the operating system's, of one machine
            error = OSError(error.errno, f"Ray node {hand.node}: {error.strerror or error}", error.filename)
            if error.errno in NO_ROOM and any(other.node_id != hand.node_id for other in self._able()):
                if hand.node_id not in self.unable:
                    log.warning("%s: %s; other nodes do its work", error.filename, error.strerror)
                self.unable.add(hand.node_id)
                self.again.append(task)
                return
        yield task.item, failed(error)

    def _replaced(self, hand: _Hand, reason: str) -> Iterator[tuple[Any, Future[Any]]]:
        """Let another actor take the place and the items of one that died; give up the item that ended several."""
        log.info("a Ray worker%s died, another takes its place: %s", f" on {hand.node}" * bool(hand.node), reason[:300])
        self.hands.remove(hand)
        self.ray.kill(hand.actor)
        self.false_starts += not hand.ready
        if self.false_starts > ATTEMPTS * (len(self.hands) + 1):
            raise RuntimeError(f"Ray workers die while they start: {reason}")
        tasks = [task for task, _ in hand.tasks]
        for task in tasks:  # any of them: the result of a finished one may be lost with the actor
            task.suspect = True
            task.deaths += len(tasks) == 1
        if tasks and tasks[0].deaths == ATTEMPTS:
            yield tasks.pop().item, failed(WorkerLost(f"{ATTEMPTS} workers died of it; the last: {reason[:300]}"))
        self.again.extend(tasks)
        self.hire()

    def _resources(self) -> str:
        there = self.ray.cluster_resources()
        return f"{there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs"


def _actor_class() -> type:
    """Return the class of the actors.

    It is defined within a function, so that it is pickled by value, and loads before the worker imports any package of
    this project.
    """

    class Worker:
        def start(self, root: str, folder: str, code: str, made: bytes, cpus: int) -> tuple[str, str, str]:
            """Get ready, in the caller's working folder; return the node's name and id, and why it cannot or ""."""
            import contextlib
            import os
            import pickle
            import platform
            import sys

            import ray

            node, number = platform.node(), ray.get_runtime_context().get_node_id()
            with contextlib.suppress(OSError):  # without it, relative paths are missing by name, and absolute ones work
                os.chdir(folder)
            sys.path.insert(0, root)
            try:
                from detection.engines import workers

                workers.import_packages()
            except ImportError as error:
                return node, number, f"cannot import sppnet ({error})"
            finally:
                sys.path.remove(root)
            if workers.code_digest() != code:
                return node, number, "has another version of sppnet"
            workers.use_threads(cpus)
            self.work = pickle.loads(made)()
            return node, number, ""

        def do(self, item: Any) -> Any:
            return self.work(item)

    return Worker
