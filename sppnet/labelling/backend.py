"""All projects of a Label Studio, and what its requests ask of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sppnet.errors import one_line
from sppnet.labelling import payloads
from sppnet.labelling.base import Base
from sppnet.labelling.label_config import parse
from sppnet.labelling.payloads import AnnotationData, TaskData, items, number, text
from sppnet.labelling.photos import LabelStudio, NotFetched, is_local, origin
from sppnet.labelling.project import Project
from sppnet.labelling.worker import Worker
from sppnet.progress import log
from sppnet.server.detector_queue import STOPPING
from sppnet.server.errors import RequestRefused
from sppnet.server.uploads import UploadLimits

PREDICT_SECONDS = 80.0  # for the tasks of one request; Label Studio waits for 100 seconds
SETUP_SECONDS = 1.5  # that a request waits for annotations to be learned; Label Studio waits for 3 seconds
ANNOTATED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED")
DELETED = ("ANNOTATION_DELETED", "ANNOTATIONS_DELETED")


@dataclass(frozen=True)
class Access:
    """Where Label Studio is and what is fetched from where.

    Attributes:
        address: of Label Studio; None: what it says itself.
        token: of a user; empty: what Label Studio sends.
        photo_hosts: further hosts that photos may be fetched from.
        open: Label Studio's own word on its address is taken whatever it is: only this machine reaches the server.
    """

    address: str | None = None
    token: str = ""
    photo_hosts: tuple[str, ...] = ()
    open: bool = True


class Backend:
    """Answers Label Studio's requests; everything but the detection itself happens at once.

    Args:
        base: what detectors begin with.
        folder: keeps one folder per project.
        limits: largest photo.
        access: where Label Studio is.
        quiet: seconds without a request before trainings from the beginning start or go on; None: the usual.

    Attributes:
        abandoned: whether a thread was still at work when the backend was left; then the last models are not written.
    """

    def __init__(
        self, base: Base, folder: Path, limits: UploadLimits, access: Access, quiet: float | None = None
    ) -> None:
        self.base, self.folder, self.limits, self.access = base, folder, limits, access
        self.projects: dict[str, Project] = {}
        self.served, self.abandoned = 0, False
        more = {} if quiet is None else {"quiet": quiet}
        self.worker = Worker(lambda: list(self.projects.values()), **more)
        self._running: set[asyncio.Task[None]] = set()
        self._exports = ThreadPoolExecutor(1, "export")
        self._fetching: set[Future[Any]] = set()

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *_: object) -> None:
        self._exports.shutdown(wait=False, cancel_futures=True)
        if not self.worker.close():
            log.warning("work under way was given up; a restart learns what was not written")
            self.abandoned = True
            return
        self.abandoned = any(job.running() for job in self._fetching)
        for project in self.projects.values():
            project.close()

    def stop(self) -> None:
        """Accept no more work, and cancel what waits; annotations that were not learned are learned after a restart."""
        self.worker.stop()

    async def set_up(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take the configuration of a project and the address of Label Studio; return the version of the model.

        Raises:
            RequestRefused: the configuration has no rectangles, or the address is not allowed.
        """
        uid, xml = payloads.project_uid(body.get("project")), text(body.get("schema"), "schema")
        studio = self._studio(text(body.get("hostname"), "hostname"), text(body.get("access_token"), "access_token"))
        new = uid not in self.projects
        project = self._set_up(uid, xml, studio)
        if new:
            log.info("project %s of %s: %s", uid, studio.address, project.folder)
        deadline = time.monotonic() + SETUP_SECONDS
        while self.worker.waiting and time.monotonic() < deadline:  # so that predictions have the version stated here
            await asyncio.sleep(0.05)
        return {"model_version": project.version}

    async def predict(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Detect in the photos of tasks.

        Tasks whose photo cannot be used, those for which no time is left and all before anything is learned have no
        prediction; Label Studio asks for them again.

        Raises:
            RequestRefused: the project is unknown, or the queue is full.
        """
        uid, xml = payloads.project_uid(body.get("project")), text(body.get("label_config"), "label_config")
        tasks = [payloads.task(value) for value in items(body.get("tasks"), "tasks")]
        project = self._set_up(uid, xml) if xml else self._project(uid)
        results: list[list[dict[str, Any]]] = []
        deadline = time.monotonic() + PREDICT_SECONDS
        for task in tasks:  # one at a time, so that annotations that arrive meanwhile are learned between them
            late = time.monotonic() > deadline
            results.append([] if late else await _result(project.predict(task), deadline))
            self.served += bool(results[-1])
        return {"results": results, "model_version": project.version}

    async def webhook(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take note of what happened in Label Studio; learning happens later.

        Raises:
            RequestRefused: the body is not as expected, or the project is unknown; Label Studio shows nobody why.
        """
        try:
            return self._take_note(body)
        except RequestRefused as refused:
            log.warning("%s: %s", str(body.get("action"))[:60], refused)
            raise

    def _take_note(self, body: Mapping[str, Any]) -> dict[str, Any]:
        action = text(body.get("action"), "action")
        known = (*ANNOTATED, *DELETED, "TASKS_DELETED", "PROJECT_UPDATED", "START_TRAINING")
        if action not in known:
            return {"status": "ignored"}
        if "project" not in body:  # as when an annotation is turned into a draft
            log.warning("%s without a word on what; Start Training in Label Studio takes over all annotations", action)
            return {"status": "ignored"}
        project = self._of_webhook(body.get("project"))
        if action in ANNOTATED:
            self._annotate(project, body)
        elif action in DELETED:
            for value in items(body.get("annotations", body.get("annotation")), "annotations"):
                project.delete_annotation(number(payloads.mapping(value, "annotation").get("id"), "annotation id"))
        elif action == "TASKS_DELETED":
            for value in items(body.get("tasks"), "tasks"):
                project.delete_task(number(payloads.mapping(value, "task").get("id"), "task id"))
        elif action == "START_TRAINING":
            self._in_background(project)
        return {"status": "ok"}

    def _annotate(self, project: Project, body: Mapping[str, Any]) -> None:
        tasks = {task.id: task for task in map(payloads.task, items(body.get("task"), "task"))}
        for annotation in map(payloads.annotation, items(body.get("annotation"), "annotation")):
            if annotation.task not in tasks:
                raise RequestRefused(422, f"annotation {annotation.id}: its task {annotation.task} is not in the body")
            project.annotate(tasks[annotation.task], annotation)

    def _in_background(self, project: Project) -> None:
        running = asyncio.get_running_loop().create_task(self._synchronise(project))
        self._running.add(running)  # or it might be collected before its end
        running.add_done_callback(self._running.discard)

    async def _synchronise(self, project: Project) -> None:
        """Take over all annotations of a project from Label Studio."""
        studio, number_of_project = project.studio, project.uid.partition(".")[0]
        if studio is None:
            log.warning("project %s: Label Studio has not said yet where it is", project.uid)
            return
        path = f"/api/projects/{number_of_project}/export?exportType=JSON&download_all_tasks=false"
        try:
            found = await asyncio.wrap_future(self._fetch(studio, path))
            tasks = [_exported(value) for value in items(found, "export")]
        except (NotFetched, RequestRefused) as error:
            log.warning("project %s: %s", project.uid, one_line(error))
            return
        changed = project.update(tasks)
        log.info("project %s: %d annotated tasks, %d of them changed", project.uid, len(tasks), changed)

    def _fetch(self, studio: LabelStudio, path: str) -> Future[Any]:
        """Ask Label Studio in a thread of ours; the end of the program does not wait for asyncio's."""
        job = self._exports.submit(studio.ask, path)
        self._fetching.add(job)
        job.add_done_callback(self._fetching.discard)
        return job

    def _studio(self, hostname: str, token: str) -> LabelStudio:
        """Return Label Studio at the address that is allowed.

        Raises:
            RequestRefused: it is none, or only --label-studio-url would allow it.
        """
        address = self.access.address or hostname
        try:
            allowed = self.access.address is not None or self.access.open or is_local(address)
            origin(address)
        except ValueError as error:
            raise RequestRefused(422, f"hostname: {one_line(error)}") from None
        if not allowed:
            why = f"hostname: {address[:100]} is not this machine; --label-studio-url {address[:100]} allows it"
            log.warning("%s", why)
            raise RequestRefused(403, why)
        return LabelStudio(address, self.access.token or token, self.limits, self.access.photo_hosts)

    def _of_webhook(self, value: Any) -> Project:
        """Return the project of a webhook; one that is new is set up from what the webhook says.

        Raises:
            RequestRefused: the webhook says nothing of its project.
        """
        found = payloads.mapping(value, "project")
        xml = text(found.get("label_config"), "label_config")
        return self._set_up(payloads.project_uid(found), xml)

    def _project(self, uid: str) -> Project:
        if uid not in self.projects:
            raise RequestRefused(404, f"project {uid}: unknown until Label Studio sets it up")
        return self.projects[uid]

    def _set_up(self, uid: str, xml: str, studio: LabelStudio | None = None) -> Project:
        """Return a project with this configuration.

        Raises:
            RequestRefused: the configuration has no rectangles.
        """
        try:
            parse(xml)
        except ValueError as error:
            log.warning("project %s: %s", uid, one_line(error))
            raise RequestRefused(422, one_line(error)) from None
        if uid not in self.projects:
            self.projects[uid] = Project(uid, self.folder / uid, self.base, self.worker, self.limits)
        self.projects[uid].set_up(xml, studio)
        return self.projects[uid]


async def _result(job: Future[list[dict[str, Any]]], deadline: float) -> list[dict[str, Any]]:
    """Wait for a job until a time, as of `time.monotonic`, at which there is no prediction.

    Raises:
        RequestRefused: the server stops.
    """
    future = asyncio.wrap_future(job)
    try:
        await asyncio.wait({future}, timeout=max(0.0, deadline - time.monotonic()))
        if future.cancelled():
            raise RequestRefused(503, STOPPING)
        return future.result() if future.done() else []
    except asyncio.CancelledError:
        raise RequestRefused(503, STOPPING) from None
    finally:
        future.cancel()  # or asyncio would log what becomes of a job under way


def _exported(value: Any) -> tuple[TaskData, list[AnnotationData]]:
    """Check a task of an export."""
    task = payloads.task(value)
    return task, [payloads.annotation(a, task.id) for a in items(value.get("annotations") or [], "annotations")]
