"""The order of work: requests one at a time, and in the pauses between them trainings from the beginning."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

from detection.training.live import LiveCatchup
from sppnet.errors import one_line
from sppnet.progress import log
from sppnet.server.detector_queue import PATIENCE_SECONDS, STOPPING
from sppnet.server.errors import RequestRefused

T = TypeVar("T")
MAX_WAITING = 1000
"""Jobs in the queue."""
QUIET_SECONDS = 2.0  # without a job, before a training from the beginning starts or goes on
POLL_SECONDS = 0.1


class Catching(Protocol):
    """What can be trained from the beginning."""

    @property
    def behind(self) -> bool:
        """Whether there is something to train."""

    def catchup(self) -> LiveCatchup:
        """Return the training; called between jobs."""

    def adopt(self, trained: LiveCatchup) -> None:
        """Take its result; called between jobs."""


class Stopped(Exception):
    """The program ends."""


class Worker:
    """One thread for jobs, in the order of their arrival, and one for trainings, which wait while there are jobs.

    Args:
        projects: returns what can be trained.
        quiet: seconds without a job before a training starts or goes on.
    """

    def __init__(self, projects: Callable[[], list[Catching]], quiet: float = QUIET_SECONDS) -> None:
        self._projects, self._quiet = projects, quiet
        self._jobs = ThreadPoolExecutor(1, "learner")
        self._waiting: set[Future[Any]] = set()
        self._last = time.monotonic()
        self._stopping, self._end = False, 0.0  # when work is given up, as of time.monotonic
        self._trainer = threading.Thread(target=self._train, name="trainer")
        self._trainer.start()

    @property
    def waiting(self) -> int:
        """Number of jobs in the queue, with the one at work."""
        return len(self._waiting)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Add a job; it is cancelled if it still waits when the program ends.

        Raises:
            RequestRefused: the queue is full, or the program ends.
        """
        if self._stopping:
            raise RequestRefused(503, STOPPING)
        if self.waiting >= MAX_WAITING:
            raise RequestRefused(503, f"{self.waiting} requests are already waiting; try again in a moment")
        job = self._jobs.submit(work)
        self._waiting.add(job)
        job.add_done_callback(self._done)
        return job

    def stop(self) -> None:
        """Accept no more jobs, cancel those that wait, and end the training at its next step."""
        if not self._stopping:
            self._end = time.monotonic() + PATIENCE_SECONDS
        self._stopping = True
        for job in list(self._waiting):
            job.cancel()

    def close(self) -> bool:
        """Stop, wait some time for both threads, and return whether they have ended."""
        self.stop()
        busy = wait(list(self._waiting), max(0.0, self._end - time.monotonic())).not_done
        self._trainer.join(max(0.0, self._end - time.monotonic()))
        self._jobs.shutdown(wait=not busy)
        return not busy and not self._trainer.is_alive()

    def _done(self, job: Future[Any]) -> None:
        self._waiting.discard(job)
        self._last = time.monotonic()

    def _train(self) -> None:
        """Train what is behind, one after the other, until the program ends."""
        while True:
            try:
                self._pause()
                for project in self._projects():
                    if project.behind:
                        self._catch_up(project)
            except Stopped:
                return
            time.sleep(POLL_SECONDS)

    def _catch_up(self, project: Catching) -> None:
        try:
            training = self.submit(project.catchup).result()
            training.run(self._pause)
            self.submit(lambda: project.adopt(training)).result()
        except Stopped:
            raise
        except (CancelledError, RequestRefused) as error:
            if self._stopping:
                raise Stopped from error
            log.warning("training from the beginning: %s", one_line(error))
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            log.warning("training from the beginning: %s; it is tried again after the next annotation", one_line(error))

    def _pause(self) -> None:
        """Wait until there has been no job for some time.

        Raises:
            Stopped: the program ends.
        """
        while not self._stopping:
            if not self._waiting and time.monotonic() - self._last >= self._quiet:
                return
            time.sleep(POLL_SECONDS)
        raise Stopped
