"""Which annotations the tasks of a project have: one small json file per task, so that nothing is lost on a restart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from detection.files import parse_json, write_atomically
from detection.plain_values import read
from sppnet.errors import one_line
from sppnet.progress import log


@dataclass(frozen=True)
class _Stored:
    """A task as its file holds it."""

    id: int
    url: str
    annotations: dict[str, list[Any]]


@dataclass
class Task:
    """A task with its annotations.

    Attributes:
        id: number in Label Studio.
        url: address of the photo, as Label Studio states it.
        annotations: annotation id -> its regions as Label Studio sent them, in the order of arrival; the last one
            counts.
    """

    id: int
    url: str
    annotations: dict[int, list[Any]] = field(default_factory=dict)

    @property
    def current(self) -> list[Any] | None:
        """The regions that count; None if the task has no annotation."""
        return next(reversed(self.annotations.values()), None)


class TaskBook(Mapping[int, Task]):
    """The tasks that have annotations, by their ids.

    Args:
        folder: folder of the json files; created if absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        found = [task for path in sorted(folder.glob("*.json")) if (task := _read(path))]
        self._tasks = {task.id: task for task in found}

    def __getitem__(self, task_id: int) -> Task:
        return self._tasks[task_id]

    def __iter__(self) -> Any:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def annotate(self, task_id: int, url: str, annotation_id: int, regions: list[Any]) -> Task:
        """Keep an annotation as the last one of its task."""
        task = self._tasks.setdefault(task_id, Task(task_id, url))
        task.url = url
        task.annotations.pop(annotation_id, None)
        task.annotations[annotation_id] = regions
        self._write(task)
        return task

    def replace(self, task_id: int, url: str, annotations: dict[int, list[Any]]) -> None:
        """Keep these annotations of a task in place of those before, the last one last."""
        self._tasks[task_id] = task = Task(task_id, url, annotations)
        self._write(task)

    def with_annotation(self, annotation_id: int) -> Task | None:
        """Return the task of an annotation; None if the annotation is unknown."""
        return next((task for task in self._tasks.values() if annotation_id in task.annotations), None)

    def remove_annotation(self, task: Task, annotation_id: int) -> None:
        """Forget one annotation of a task."""
        del task.annotations[annotation_id]
        self._write(task)

    def remove(self, task_id: int) -> None:
        """Forget a task, if it is known."""
        if self._tasks.pop(task_id, None):
            self._path(task_id).unlink(missing_ok=True)

    def _write(self, task: Task) -> None:
        if not task.annotations:
            self.remove(task.id)
            return
        write_atomically(self._path(task.id), [(json.dumps(asdict(task)) + "\n").encode()])

    def _path(self, task_id: int) -> Path:
        return self.folder / f"{task_id}.json"


def _read(path: Path) -> Task | None:
    """Read a task; None, with a warning, if its file is damaged."""
    try:
        stored: _Stored = read(_Stored, parse_json(path.read_text("utf-8")))
        if path.stem != str(stored.id):
            raise ValueError(f"id: expected that of the file's name, got {stored.id}")
        return Task(stored.id, stored.url, {int(i): regions for i, regions in stored.annotations.items()})
    except (OSError, ValueError) as error:
        log.warning("%s: damaged (%s); left out until the task is annotated again", path, one_line(error))
        return None
