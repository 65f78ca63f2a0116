"""Reader of Label Studio's exports as JSON and JSON-MIN."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from data.annotation import UNLABELLED
from data.files import PHOTOS
from data.json_files import LABEL_STUDIO, expect, format_of, load_json
from data.label_files import one_file_per_split
from data.label_studio_regions import BARE, read_regions
from data.photo_index import PhotoIndex, path_parts
from data.records import Dataset
from data.tool_labels import PhotoLabels, SplitLabels, build_labelled

_UPLOADED = re.compile(r"\A[0-9a-f]{8}-(?=.)")  # what is put before the names of uploaded files


@dataclass(frozen=True)
class _Task:
    """One task: a photo and the regions of one annotation.

    Attributes:
        where: file and task, for messages.
        data: what the task shows, by name.
        regions: dicts with "value" and perhaps "type", "original_width", ...; None: there is no annotation.
    """

    where: str
    data: Mapping[str, Any]
    regions: list[Any] | None


def splits(root: Path, images: Path | None = None) -> dict[str, Path]:
    """Return split name -> json file; empty if there is none of Label Studio. See `one_file_per_split`."""
    found = one_file_per_split(root, ".json", lambda path: format_of(path) == LABEL_STUDIO, LABEL_STUDIO)
    empty = not found and root.is_file() and root.suffix.lower() == ".json" and _is_empty(root)
    return {"all": root} if empty else found


def load(
    root: Path,
    split: str,
    *,
    classes: Sequence[str] | None = None,
    skip_bad: bool = False,
    name: str | None = None,
    images: Path | None = None,
) -> Dataset:
    """Read one split.

    Of several annotations of a task, the one that was changed last counts; cancelled ones do not. A task without
    annotation is left out with a remark, while one with an annotation without regions is a photo without objects.
    Rectangles, which may be rotated, ellipses and polygons become the boxes around them; a region with several labels
    is one object per label. Brush strokes and keypoints are left out with a remark. Percentages of the photo become
    continuous pixels, and the edges x0, y0, x1, y1 of a region 0-based inclusive corners, x1 - 1 and y1 - 1.

    Args:
        root: folder or file, as for `splits`.
        split: name of the split.
        classes: class names in label order; None: the names that occur, sorted.
        skip_bad: skip photos that cannot be used and list them in `Dataset.bad`, instead of raising.
        name: name of the data set and split, for messages.
        images: folder of the photos; None: in the data set.

    Raises:
        OSError, ValueError: the file is damaged, or a photo is missing.
    """
    path = splits(root)[split]
    tasks = list(_tasks(path))
    labels = [_labels_of(path, task) for task in tasks if task.regions is not None]
    if not labels:
        raise ValueError(f"{path}: none of its {len(tasks)} tasks has an annotation")
    notes = {UNLABELLED: [task.where for task in tasks if task.regions is None]}
    index = PhotoIndex(root, images, _as_uploaded)
    return build_labelled(
        SplitLabels(name or f"{root.stem} {split}", split, labels, (), notes), index, classes, skip_bad
    )


def _is_empty(path: Path) -> bool:
    try:
        return load_json(path) == []
    except (OSError, ValueError):
        return False


def _tasks(path: Path) -> Iterator[_Task]:
    """The tasks of a file; the entries of JSON-MIN that belong to one task are one."""
    newest: dict[str, dict[str, Any]] = {}
    for count, value in enumerate(expect(load_json(path), list, f"{path}: the content"), 1):
        task = expect(value, dict, f"{path}: task {count}")
        where = f"{path}: task {task.get('id', count)}"
        if "data" in task:
            shows = {**expect(task["data"], dict, f"{where}: data"), "file_upload": task.get("file_upload")}
            yield _Task(where, shows, _regions(task, where))
        else:
            newest[where] = max(task, newest.get(where, task), key=_age)
    for where, task in newest.items():
        yield _Task(where, task, list(_regions_of_min(task)))


def _regions(task: dict[str, Any], where: str) -> list[Any] | None:
    """The regions of the annotation that counts; None: there is no annotation."""
    key = "annotations" if "annotations" in task else "completions"  # of versions before 1.0
    found = [expect(a, dict, f"{where}: an annotation") for a in expect(task.get(key, []), list, f"{where}: {key}")]
    valid = [annotation for annotation in reversed(found) if not annotation.get("was_cancelled")]
    return expect(max(valid, key=_age).get("result"), list, f"{where}: result") if valid else None


def _age(annotation: dict[str, Any]) -> str:
    """The time of the last change, in ISO format; later times are greater texts."""
    return str(annotation.get("updated_at") or annotation.get("created_at") or "")


def _regions_of_min(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The regions of JSON-MIN, which stand in lists, without their types."""
    for value in task.values():
        for item in value if isinstance(value, list) else ():
            if isinstance(item, dict) and not item.keys() & {"text", "choices"}:
                yield {**item, "value": item, "type": BARE[0] if item.keys() & {"x", "points", "rle"} else ""}


def _labels_of(path: Path, task: _Task) -> PhotoLabels:
    paths = {key: _path_in(text) for key, text in task.data.items() if isinstance(text, str)}
    photos = [key for key, name in paths.items() if Path(name).suffix.lower() in PHOTOS]
    read = functools.partial(read_regions, path, task.regions or [], task.where)
    if not photos:
        return PhotoLabels(path, (task.where.rpartition(": ")[2],), read, missing=f"{task.where} names no photo")
    parts = path_parts(paths[min(photos, key=lambda key: key != "image")])
    return PhotoLabels(path, ("/".join(parts), "/".join([*parts[:-1], _UPLOADED.sub("", parts[-1])])), read)


def _path_in(text: str) -> str:
    """The path of a photo in the address that Label Studio has for it."""
    try:
        url = urlsplit(text)
    except ValueError:
        return text
    local = parse_qs(url.query).get("d") if "local-files" in url.path else None
    if local:
        return local[0]
    return unquote(url.path) if len(url.scheme) > 1 or text.startswith("/") else text  # C: is a drive


def _as_uploaded(name: str) -> str:
    """The name that Label Studio gives to an uploaded file, without what it puts before it."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))
