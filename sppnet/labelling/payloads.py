"""What Label Studio sends: checked values of its JSON bodies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sppnet.server.errors import RequestRefused

LARGEST_ID = 2**63
LONGEST_NAME = 60  # characters of a photo's file name that are kept


@dataclass(frozen=True)
class TaskData:
    """A task of a project.

    Attributes:
        id: its number.
        data: its data, among them the address of the photo.
    """

    id: int
    data: Mapping[str, Any]

    def url(self, key: str) -> str:
        """Return the address of the photo under a key of the data; empty if there is none."""
        value = self.data.get(key)
        if value is None and len(self.data) == 1:  # data imported without a configuration has another key
            value = next(iter(self.data.values()))
        return value if isinstance(value, str) else ""


@dataclass(frozen=True)
class AnnotationData:
    """An annotation of a task.

    Attributes:
        id: its number.
        task: number of its task.
        regions: its result.
        skipped: the labeller skipped the task.
        updated: when it was changed last, for sorting.
    """

    id: int
    task: int
    regions: list[Any]
    skipped: bool
    updated: str = ""


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """Return a JSON object.

    Raises:
        RequestRefused: it is something else.
    """
    if not isinstance(value, dict):
        raise RequestRefused(422, f"{what}: expected an object, got {type(value).__name__}")
    return value


def items(value: Any, what: str) -> list[Any]:
    """Return a JSON list; a single object is a list of one.

    Raises:
        RequestRefused: it is something else.
    """
    found = [value] if isinstance(value, dict) else value
    if not isinstance(found, list):
        raise RequestRefused(422, f"{what}: expected a list, got {type(value).__name__}")
    return found


def number(value: Any, what: str) -> int:
    """Return an id.

    Raises:
        RequestRefused: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LARGEST_ID:
        raise RequestRefused(422, f"{what}: expected a number, got {str(value)[:60]!r}")
    return value


def text(value: Any, what: str) -> str:
    """Return text; empty if there is none.

    Raises:
        RequestRefused: it is something else.
    """
    if value is not None and not isinstance(value, str):
        raise RequestRefused(422, f"{what}: expected text, got {type(value).__name__}")
    return value or ""


def project_uid(value: Any) -> str:
    """Return the name of a project: its id and the second of its creation.

    Args:
        value: this name, as requests of Label Studio have it, or the project itself, as its webhooks have it.

    Raises:
        RequestRefused: it is something else.
    """
    if isinstance(value, dict):
        try:
            created = int(datetime.fromisoformat(str(value["created_at"]).replace("Z", "+00:00")).timestamp())
        except (KeyError, ValueError, OverflowError):
            raise RequestRefused(422, "project: expected an id and the time of its creation") from None
        return f"{number(value.get('id'), 'project id')}.{created}"
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,19}\.\d{1,19}", value):
        raise RequestRefused(422, f"project: expected ID.SECONDS, got {str(value)[:60]!r}")
    return value


def task(value: Any) -> TaskData:
    """Check a task.

    Raises:
        RequestRefused: it is something else.
    """
    found = mapping(value, "task")
    return TaskData(number(found.get("id"), "task id"), mapping(found.get("data"), "task data"))


def annotation(value: Any, task_id: int | None = None) -> AnnotationData:
    """Check an annotation.

    Args:
        value: the annotation.
        task_id: number of its task; None: the annotation says so.

    Raises:
        RequestRefused: it is something else.
    """
    found = mapping(value, "annotation")
    return AnnotationData(
        number(found.get("id"), "annotation id"),
        number(found.get("task"), "annotation task") if task_id is None else task_id,
        items(found.get("result") or [], "annotation result"),
        bool(found.get("was_cancelled")),
        str(found.get("updated_at") or ""),
    )


def image_id(task_id: int, url: str) -> str:
    """Return the name of a task's photo in the data set: the number of the task and the name of the file.

    Letters outside ASCII, blanks and signs become dashes, so that every program can read the name.
    """
    parts = urlsplit(url)
    named = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]  # /data/local-files/?d=folder/photo.jpg
    stem = re.sub(r"[^A-Za-z0-9_]+", "-", PurePosixPath(named).stem).strip("-")
    return f"{task_id}-{stem[-LONGEST_NAME:]}".rstrip("-")
