"""A project of Label Studio: its configuration, its annotations, and the learner of its detector."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.files import parse_json, write_atomically
from detection.plain_values import read
from detection.training.live import LiveCatchup
from sppnet.errors import one_line
from sppnet.labelling.base import Base
from sppnet.labelling.label_config import LabelConfig, parse
from sppnet.labelling.learner import Learner
from sppnet.labelling.payloads import AnnotationData, TaskData, image_id
from sppnet.labelling.photos import LabelStudio, NotFetched
from sppnet.labelling.regions import read_regions, write_regions
from sppnet.labelling.tasks import TaskBook
from sppnet.labelling.worker import Worker
from sppnet.progress import log
from sppnet.server.errors import RequestRefused
from sppnet.server.uploads import UploadLimits

SETTINGS, TASKS = "project.json", "tasks"  # in the folder of the project
RETRY_SECONDS = 60.0  # between two attempts to fetch photos that could not be fetched
UNUSABLE = (RequestRefused, ValueError, OSError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class _Stored:
    """What is kept of a project."""

    project: str
    classes: tuple[str, ...]
    label_config: str


class Project:
    """What a project's requests do.

    The methods are called by one thread and return at once; the work is done by the worker.

    Args:
        uid: name of the project, ID.SECONDS.
        folder: keeps everything; created if absent.
        base: what its detector begins with.
        worker: does the work.
        limits: largest photo.

    Attributes:
        studio: where photos are fetched from; None until Label Studio has said so.
        config: labels and tags; None until they are known.
    """

    def __init__(self, uid: str, folder: Path, base: Base, worker: Worker, limits: UploadLimits) -> None:
        self.uid, self.folder, self.base, self.worker, self.limits = uid, folder, base, worker, limits
        folder.mkdir(parents=True, exist_ok=True)
        self.book = TaskBook(folder / TASKS)
        self.studio: LabelStudio | None = None
        self.config: LabelConfig | None = None
        self._learner: Learner | None = None
        self._classes: tuple[str, ...] = ()  # those of an earlier time first
        self._waiting: set[int] = set()  # tasks whose photos could not be fetched
        self._tried = 0.0
        self._restore()

    @property
    def version(self) -> str:
        """Name of the newest model."""
        return self._learner.version if self._learner else "0-photos"

    @property
    def behind(self) -> bool:
        """Whether a training from the beginning would use more than the last one."""
        return self._learner is not None and self._learner.detector.behind

    def catchup(self) -> LiveCatchup:
        """Return a training from the beginning."""
        return self._ready().detector.catchup()

    def adopt(self, trained: LiveCatchup) -> None:
        """Take the result of a training from the beginning, and write it."""
        learner = self._ready()
        learner.adopt(trained)
        learner.keep()
        learner.hand_over()
        log.info("project %s: trained from the beginning on %s", self.uid, learner.version)

    def set_up(self, label_config: str, studio: LabelStudio | None = None) -> None:
        """Take a labelling configuration; labels that are new become classes.

        Args:
            label_config: XML.
            studio: where photos are fetched from; None: as before.

        Raises:
            ValueError: the configuration has no rectangles.
        """
        config = parse(label_config)
        self.studio = studio or self.studio
        if config != self.config:
            self.config = config
            self._classes = tuple(dict.fromkeys((*self._classes, *config.labels)))
            settings = {"project": self.uid, "classes": self._classes, "label_config": label_config}
            write_atomically(self.folder / SETTINGS, [(json.dumps(settings, indent=1) + "\n").encode()])
            self._submit(lambda: self._ready().widen(config.labels))
        elif self._learner is None:
            self._submit(self._load)
        self._try_again()

    def predict(self, task: TaskData) -> Future[list[dict[str, Any]]]:
        """Return the future predictions of a task: one, or none if its photo cannot be used or nothing was learned."""
        config, studio = self._known()
        url = task.url(config.data_key)
        return self.worker.submit(lambda: self._predict(task.id, url, config, studio))

    def annotate(self, task: TaskData, annotation: AnnotationData) -> None:
        """Keep an annotation and learn it; the last one of a task counts, and a skipped one is as if deleted."""
        if annotation.skipped:
            self.delete_annotation(annotation.id)
            return
        config, _ = self._known()
        url = task.url(config.data_key)
        self.book.annotate(task.id, url, annotation.id, annotation.regions)
        self._learn_later(task.id)

    def delete_annotation(self, annotation_id: int) -> None:
        """Forget an annotation; the one before it counts again, if there is one. Unknown ones are ignored."""
        task = self.book.with_annotation(annotation_id)
        if task is None:
            log.debug("project %s: annotation %d is unknown, so there is nothing to delete", self.uid, annotation_id)
            return
        self.book.remove_annotation(task, annotation_id)
        if task.current is not None:
            self._learn_later(task.id)
        else:
            self._forget_later(task.id, task.url)

    def delete_task(self, task_id: int) -> None:
        """Forget a task with its annotations; unknown ones are ignored."""
        task = self.book.get(task_id)
        if task is not None:
            self.book.remove(task_id)
            self._forget_later(task_id, task.url)

    def update(self, found: Iterable[tuple[TaskData, list[AnnotationData]]]) -> int:
        """Take over all annotations of the project, and return the number of tasks that changed.

        Args:
            found: its annotated tasks.
        """
        changed, seen = 0, set()
        for task, given in found:
            kept = {a.id: a.regions for a in sorted(given, key=lambda a: a.updated) if not a.skipped}
            known = self.book.get(task.id)
            if not kept:
                continue
            seen.add(task.id)
            if known is None or known.annotations != kept:
                changed += 1
                self.book.replace(task.id, task.url(self._known()[0].data_key), kept)
                self._learn_later(task.id)
        for task_id in set(self.book) - seen:
            changed += 1
            self.delete_task(task_id)
        return changed

    def close(self) -> None:
        """Write what a restart continues with; called once the worker has ended."""
        if self._learner is not None:
            self._learner.keep()
            self._learner.hand_over()

    # ---- what the worker does

    def _ready(self) -> Learner:
        """The learner, which is loaded on its first use."""
        if self._learner is None:
            self._learner = Learner(self.folder, self.base, self._classes, self.limits)
            labelled = set(self._learner.labelled.ids)
            late = [t.id for t in self.book.values() if image_id(t.id, t.url) not in labelled]
            self._waiting.update(late)
        return self._learner

    def _load(self) -> None:
        self._ready()

    def _predict(self, task_id: int, url: str, config: LabelConfig, studio: LabelStudio | None) -> list[dict[str, Any]]:
        started = time.perf_counter()
        try:
            learner = self._ready()
            found, size = learner.detect(image_id(task_id, url), _fetcher(studio, url))
        except UNUSABLE as error:
            log.warning("project %s, task %d: %s", self.uid, task_id, one_line(error))
            return []
        if not learner.knows:
            return []
        regions = write_regions(found, config, size)
        scores = [region["score"] for region in regions]
        log.info("task %d: %d boxes in %.2f s", task_id, len(regions), time.perf_counter() - started)
        mean = round(sum(scores) / len(scores), 4) if scores else 0.0
        return [{"result": regions, "score": mean, "model_version": learner.version}]

    def _learn(self, task_id: int, url: str, regions: list[Any], config: LabelConfig) -> None:
        started = time.perf_counter()
        learner = self._ready()
        try:
            found = learner.learn(
                image_id(task_id, url), _fetcher(self.studio, url), lambda size: read_regions(regions, config, size)
            )
        except UNUSABLE as error:
            self._waiting.add(task_id)
            log.warning("project %s, task %d: %s; not learned", self.uid, task_id, one_line(error))
            return
        self._waiting.discard(task_id)
        for why, count in found.left_out.items():
            log.warning("project %s, task %d: left out %d regions: %s", self.uid, task_id, count, why)
        seconds = time.perf_counter() - started
        log.info("task %d: %d objects learned in %.2f s: %s", task_id, len(found.boxes), seconds, learner.version)
        self._keep_if_idle()

    def _forget(self, task_id: int, url: str) -> None:
        self._waiting.discard(task_id)
        self._ready().forget(image_id(task_id, url))
        log.info("task %d: forgotten", task_id)
        self._keep_if_idle()

    def _keep_if_idle(self) -> None:
        if self.worker.waiting <= 1:
            self._ready().keep()

    # ---- order of work

    def _known(self) -> tuple[LabelConfig, LabelStudio | None]:
        """The configuration and where photos come from.

        Raises:
            RequestRefused: the project was not set up.
        """
        if self.config is None:
            raise RequestRefused(404, f"project {self.uid}: unknown until Label Studio sets it up")
        return self.config, self.studio

    def _learn_later(self, task_id: int) -> None:
        config, _ = self._known()
        task = self.book[task_id]
        url, regions = task.url, task.current or []
        self._submit(lambda: self._learn(task_id, url, regions, config))

    def _forget_later(self, task_id: int, url: str) -> None:
        self._submit(lambda: self._forget(task_id, url))

    def _try_again(self) -> None:
        """Learn the tasks whose photos could not be fetched, if the last attempt is some time ago."""
        now = time.monotonic()
        waiting = sorted(set(self._waiting) & set(self.book))
        if waiting and self.studio is not None and (not self._tried or now - self._tried >= RETRY_SECONDS):
            self._tried = now
            for task_id in waiting:
                self._learn_later(task_id)

    def _submit(self, work: Callable[[], None]) -> None:
        """Add a job whose result nobody waits for; an unexpected error is logged."""

        def logged(job: Future[None]) -> None:
            if not job.cancelled() and (error := job.exception()):
                log.error("project %s", self.uid, exc_info=error)

        self.worker.submit(work).add_done_callback(logged)

    def _restore(self) -> None:
        """Take up the configuration of an earlier time."""
        try:
            stored: _Stored = read(_Stored, parse_json((self.folder / SETTINGS).read_text("utf-8")))
            self.config, self._classes = parse(stored.label_config), stored.classes
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning("%s: damaged (%s); waiting for Label Studio", self.folder / SETTINGS, one_line(error))


def _fetcher(studio: LabelStudio | None, url: str) -> Callable[[], bytes]:
    """Return a function that fetches a photo."""

    def fetch() -> bytes:
        if not url:
            raise NotFetched("the task has no photo under the key that the labelling configuration names")
        if studio is None:
            raise NotFetched(f"{url[:100]}: Label Studio has not said yet where it is; it does when it asks for boxes")
        return studio.fetch_photo(url)

    return fetch
