"""Writer of COCO: one folder per split, with its photos and _annotations.coco.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.annotation import plain
from data.coco import ROBOFLOW
from data.records import Dataset, ImageRecord
from data.writers.checks import class_names, corners_of
from data.writers.photos import Photos, file_names

DIFFICULT = True
"""Whether the format has a flag for difficult objects."""


def write(folder: Path, datasets: Mapping[str, Dataset], photos: Photos) -> None:
    """Write one folder per split. Boxes are x, y, width, height; difficult objects are crowds (iscrowd).

    Args:
        folder: an empty folder.
        datasets: split name -> its images.
        photos: puts the photos there.

    Raises:
        ValueError: the name of a class or photo has characters that label files cannot hold.
        OSError: a photo cannot be read, or a file cannot be written.
    """
    classes = class_names(datasets)
    categories = [{"id": k, "name": name, "supercategory": ""} for k, name in enumerate(classes, 1)]
    id_of = {name: k for k, name in enumerate(classes, 1)}
    for split, dataset in datasets.items():
        names = file_names({split: dataset})
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, record in enumerate(dataset, 1):
            height, width = record.size
            images.append({"id": number, "file_name": names[record.path], "height": height, "width": width})
            for found in _objects(record):
                category = id_of[dataset.classes[found.pop("label")]]
                annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": category, **found})
            photos.put(record.path, folder / split / names[record.path])
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / split / ROBOFLOW).write_text(json.dumps(content, ensure_ascii=False), "utf-8")


def _objects(record: ImageRecord) -> list[dict[str, Any]]:
    columns = (corners_of(record), record.labels.tolist(), record.difficult.tolist())
    found = []
    for corners, label, difficult in zip(*columns, strict=True):
        x, y, width, height = _xywh(corners, record.size)
        shape = {"bbox": [x, y, width, height], "area": plain(round(width * height, 4)), "segmentation": []}
        found.append({"label": label, **shape, "iscrowd": int(difficult)})
    return found


def _xywh(corners: Sequence[float], size: tuple[int, int]) -> list[float]:
    x0, y0, x1, y1 = corners
    return [plain(v) for v in (x0, y0, _side(x0, x1, size[1]), _side(y0, y1, size[0]))]


def _side(low: float, high: float, end: int) -> float:
    """The length from one pixel to another, not beyond the end of the photo when it is added to the first."""
    side = round(high - low + 1, 4)
    while low + side > end:  # by a rounding error
        side = math.nextafter(side, 0)
    return side
