"""The queue of photos: one thread detects in one photo at a time, in the order of arrival."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from detection.detections import Detections
from detection.detector import SPPDetector
from sppnet.errors import one_line
from sppnet.server import uploads
from sppnet.server.errors import RequestRefused
from sppnet.server.offered_detectors import OfferedDetector
from sppnet.server.uploads import UploadLimits
from sppnet.settings.shared import Inference

T = TypeVar("T")
MAX_WAITING = 16
"""Photos in the queue; each may take as much memory as the upload limit."""
PATIENCE_SECONDS = 2
"""Time for the photo at work when the server stops."""
STOPPING = "the server is shutting down"
FAILURES = (OSError, ValueError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class Lowest:
    """Which detections are reported.

    Attributes:
        probability: the lowest; None: that of each class.
        score: the lowest margin instead; None: the probability decides.

    Raises:
        RequestRefused: both are given.
    """

    probability: float | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        if self.probability is not None and self.score is not None:
            raise RequestRefused(422, "threshold, a probability, goes without score_threshold, a margin")

    def of(self, found: Detections) -> Detections:
        """Return the detections to report.

        Raises:
            ValueError: a probability is given and the detector states none.
        """
        return found.shown(self.probability) if self.score is None else found.filter(self.score)


class StageTimes:
    """Seconds of consecutive stages, from the moment this object is made."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def end(self, stage: str) -> None:
        """End a stage; the next begins."""
        now = time.perf_counter()
        self.seconds[stage], self._last = now - self._last, now

    def rounded(self) -> dict[str, float]:
        """Seconds of every stage and their total."""
        return {name: round(s, 4) for name, s in (self.seconds | {"total": sum(self.seconds.values())}).items()}


class DetectorQueue:
    """Detectors and the photos that wait for them.

    Args:
        offered: name -> detector; the first is the default.
        limits: largest photo.
        device: "auto", "cpu", "cuda" or "cuda:N".
        inference: how scores become detections; None: what each model states.
        nms_iou: largest overlap of two detections of a class; None: what each model states.

    Attributes:
        loaded: name -> detector, of those used before.
        served: number of photos answered.
        abandoned: whether a photo was still at work when the queue was left.
    """

    def __init__(
        self,
        offered: dict[str, OfferedDetector],
        limits: UploadLimits,
        device: str = "auto",
        inference: Inference | None = None,
        nms_iou: float | None = None,
    ) -> None:
        self.offered, self.limits = offered, limits
        self.device, self.inference, self.nms_iou = device, inference, nms_iou
        self.loaded: dict[str, SPPDetector] = {}
        self.served, self.abandoned = 0, False
        self._worker = ThreadPoolExecutor(1, "detector")
        self._jobs: set[Future[Any]] = set()
        self._stopping, self._end = False, 0.0  # when the photo at work is given up, as of time.monotonic
        uploads.load_decoders()

    def __enter__(self) -> DetectorQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.abandoned = bool(wait(list(self._jobs), max(0.0, self._end - time.monotonic())).not_done)
        self._worker.shutdown(wait=not self.abandoned)

    @property
    def default(self) -> str:
        """Name of the detector for requests that name none."""
        return next(iter(self.offered))

    @property
    def waiting(self) -> int:
        """Number of photos in the queue, with the one at work."""
        return len(self._jobs)

    def submit(self, data: bytes, name: str | None, lowest: Lowest) -> Future[dict[str, Any]]:
        """Add a photo to the queue.

        Args:
            data: content of the uploaded file.
            name: the detector; None: the default.
            lowest: which detections to report.

        Returns:
            the future result: model, width, height, detections, seconds; or `RequestRefused`. A future cancelled
            before the photo's turn costs no detection.

        Raises:
            RequestRefused: there is no such detector, the queue is full, or it is stopping.
        """
        name = name or self.default
        if name not in self.offered:
            raise RequestRefused(404, f"model {name!r}: expected one of {', '.join(self.offered)}")
        if self._stopping:
            raise RequestRefused(503, STOPPING)
        if self.waiting >= MAX_WAITING:
            raise RequestRefused(503, f"{self.waiting} photos are already waiting; try again in a moment")
        times = StageTimes()
        return self._add(lambda: self._detect(data, name, lowest, times))

    def load_default(self) -> None:
        """Load the default detector in the queue's thread: kernels compile for up to a minute, deaf to signals.

        Raises:
            RequestRefused: it cannot be loaded.
        """
        self._add(lambda: self.detector(self.default)).result()

    def stop(self) -> None:
        """Accept no more photos, and cancel those that wait."""
        if not self._stopping:
            self._end = time.monotonic() + PATIENCE_SECONDS
        self._stopping = True
        for job in list(self._jobs):
            job.cancel()

    def detector(self, name: str) -> SPPDetector:
        """Return a detector; it is loaded and tried out on its first use, and kept.

        Raises:
            RequestRefused: it cannot be loaded.
        """
        if name not in self.loaded:
            offered = self.offered[name]
            try:
                detector = SPPDetector.from_pretrained(
                    offered.folder,
                    device=self.device,
                    weights=offered.weights,
                    inference=self.inference,
                    nms_iou=self.nms_iou,
                )
                detector.detect(np.zeros((64, 64, 3), np.uint8))  # compiles the kernels, tries the proposals
            except FAILURES as error:
                raise RequestRefused(503, f"{name} cannot be used: {one_line(error)}") from error
            self.loaded[name] = detector
        return self.loaded[name]

    def _add(self, work: Callable[[], T]) -> Future[T]:
        job: Future[T] = Future()
        self._jobs.add(job)  # before it begins: a signal may come at any moment
        job.add_done_callback(self._jobs.discard)
        self._worker.submit(_do, job, work)
        return job

    def _detect(self, data: bytes, name: str, lowest: Lowest, times: StageTimes) -> dict[str, Any]:
        times.end("wait")
        photo = uploads.decode(data, self.limits)
        times.end("decode")
        detector = self.detector(name)
        times.end("load")
        try:
            proposals = detector.propose(photo)
            times.end("windows")
            found = lowest.of(detector.detect(photo, proposals))
            times.end("detect")
        except ValueError as error:
            raise RequestRefused(422, one_line(error)) from error
        except FAILURES as error:
            raise RequestRefused(500, f"{name}: {one_line(error)}") from error
        self.served += 1
        height, width = photo.shape[:2]
        size = {"width": width, "height": height}
        return {"model": name, **size, "detections": found.records(), "seconds": times.rounded()}


def _do(job: Future[T], work: Callable[[], T]) -> None:
    """Do a job's work, unless it was cancelled."""
    if not job.set_running_or_notify_cancel():
        return
    try:
        job.set_result(work())
    except BaseException as error:  # the caller's, as of an executor
        job.set_exception(error)
