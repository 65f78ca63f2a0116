"""json files with labels: which format a file has, and values checked as they are taken out of it."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from data.text import read_text

COCO, LABELME, LABEL_STUDIO, VIA = "COCO", "LabelMe", "Label Studio", "VIA"
DAMAGED, OTHER = "damaged", "other"

_KEYS = (
    *("images", "annotations", "categories", "file_name", "image_id"),
    *("shapes", "imagePath", "imageData", "completions", "predictions", "annotation_id", "regions", "_via_settings"),
)
_HINTS = [f'"{key}"'.encode() for key in _KEYS]
_SEARCHED = 1 << 16  # bytes at either end of a file
_SHOWN = 60  # characters of a wrong value in messages

T = TypeVar("T")


def format_of(path: Path) -> str:
    """Return the format of a json file: COCO, LABELME, LABEL_STUDIO, VIA or OTHER; DAMAGED if it cannot be read.

    The answer is that of the file's keys. Large files without any of the keys at their start or end are not parsed, and
    no file is parsed again until it changes.
    """
    try:
        status = path.stat()
        return _kind(os.path.abspath(path), status.st_mtime_ns, status.st_size)
    except (OSError, ValueError):
        return DAMAGED


@lru_cache(1 << 17)
def _kind(path: str, _changed: int, size: int) -> str:
    with open(path, "rb") as file:
        ends = file.read(_SEARCHED)
        if size > 2 * _SEARCHED:
            file.seek(-_SEARCHED, os.SEEK_END)
            ends += file.read()
    in_bytes = b"\0" not in ends[:4]  # not UTF-16
    if size > 2 * _SEARCHED and in_bytes and not any(hint in ends for hint in _HINTS):
        return OTHER
    return _kind_of_content(load_json(Path(path)))


def _kind_of_content(content: Any) -> str:
    if isinstance(content, list):
        return LABEL_STUDIO if any(map(_is_task, content[:1])) else OTHER
    if not isinstance(content, dict):
        return OTHER
    if all(isinstance(content.get(key), list) for key in ("images", "annotations", "categories")):
        return COCO
    if "shapes" in content and content.keys() & {"imagePath", "imageData", "imageHeight"}:
        return LABELME
    photos = content.get("_via_img_metadata", content)
    first = next(iter(photos.values()), None) if isinstance(photos, dict) else None
    listed = isinstance(first, dict) and {"filename", "regions"} <= first.keys()
    return VIA if listed or "_via_img_metadata" in content else OTHER


def _is_task(value: Any) -> bool:
    """Whether a value is a task of Label Studio's export as JSON or JSON-MIN."""
    if not isinstance(value, dict):
        return False
    full = "data" in value and not value.keys().isdisjoint({"annotations", "completions", "predictions"})
    return full or {"id", "annotation_id"} <= value.keys()


def load_json(path: Path) -> Any:
    """Read a json file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not json.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except ValueError as error:  # also of numbers with thousands of digits
        raise ValueError(f"{path}: not valid JSON ({error})") from None
    except RecursionError:
        raise ValueError(f"{path}: not valid JSON (nested too deeply)") from None


def expect(value: Any, kind: type[T], what: str) -> T:
    """Return a value that has to be of some type.

    Args:
        value: from a file.
        kind: dict, list or str.
        what: name of the value, the start of the error message.

    Raises:
        ValueError: it is of another type.
    """
    if not isinstance(value, kind):
        name = {"dict": "an object", "list": "a list", "str": "text"}[kind.__name__]
        raise ValueError(f"{what} is {shown(value)}, expected {name}")
    return value


def class_name(value: Any, what: str) -> str:
    """Return a class name: text or a number.

    Raises:
        ValueError: it is empty or something else.
    """
    name = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if not name:
        raise ValueError(f"{what} has no class" if value in ("", None) else f"{what}: the class is {shown(value)}")
    return name


def shown(value: Any) -> str:
    """Return a value as messages show it, shortened."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
