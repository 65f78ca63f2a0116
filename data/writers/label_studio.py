"""Writer of Label Studio's JSON: tasks.json and images, one folder per split, and label_config.xml."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from data.records import Dataset, ImageRecord, PredictedRecord
from data.writers.checks import check_upright, class_names, corners_of
from data.writers.photos import Photos, file_names

DIFFICULT = False
"""Whether the format has a flag for difficult objects."""

NAME, CONFIG = "tasks.json", "label_config.xml"
_IMAGE, _LABEL = "image", "label"  # names of the two controls, which tasks refer to


def write(folder: Path, datasets: Mapping[str, Dataset], photos: Photos) -> None:
    """Write one folder per split, and the label config of the project.

    Objects are annotations, or predictions if a detector found them (`PredictedRecord`), in percent of the photo as
    viewers show it. The addresses of the photos are those of local files below this folder.

    Args:
        folder: an empty folder.
        datasets: split name -> its images.
        photos: puts the photos there.

    Raises:
        ValueError: the name of a class or photo has characters that label files cannot hold, or the labels of a photo
            are not for the photo as viewers show it.
        OSError: a photo cannot be read, or a file cannot be written.
    """
    config = _config(class_names(datasets))
    for split, dataset in datasets.items():
        names = file_names({split: dataset})
        tasks = []
        for record in dataset:
            check_upright(record, "Label Studio")
            place = Path(split, "images", names[record.path])
            photos.put(record.path, folder / place)
            address = f"/data/local-files/?d={quote(place.as_posix())}"
            tasks.append({"data": {_IMAGE: address}} | _labels(record, dataset.classes))
        (folder / split / NAME).write_text(json.dumps(tasks, ensure_ascii=False), "utf-8")
    ElementTree(config).write(folder / CONFIG, "utf-8")


def _config(classes: tuple[str, ...]) -> Element:
    """The label config: one photo, rectangles of these classes."""
    view = Element("View")
    SubElement(view, "Image", {"name": _IMAGE, "value": f"${_IMAGE}"})
    labels = SubElement(view, "RectangleLabels", {"name": _LABEL, "toName": _IMAGE})
    for name in classes:
        SubElement(labels, "Label", {"value": name})
    indent(view)
    return view


def _labels(record: ImageRecord, classes: tuple[str, ...]) -> dict[str, Any]:
    """The annotation or prediction of a task."""
    regions = [
        _region(f"{number}", box, classes[label], record.size)
        for number, (box, label) in enumerate(zip(corners_of(record), record.labels.tolist(), strict=True), 1)
    ]
    if not isinstance(record, PredictedRecord):
        return {"annotations": [{"result": regions}]}
    prediction: dict[str, Any] = {"model_version": record.model, "result": regions}
    if record.probabilities is not None and regions:
        for region, probability in zip(regions, record.probabilities.tolist(), strict=True):
            region["score"] = round(probability, 4)
        prediction["score"] = round(float(record.probabilities.mean()), 4)
    return {"predictions": [prediction]}


def _region(number: str, box: list[float], name: str, size: tuple[int, int]) -> dict[str, Any]:
    """One rectangle, in percent of the photo."""
    (x0, y0, x1, y1), (height, width) = box, size
    sides = {"width": (x1 - x0 + 1) / width * 100, "height": (y1 - y0 + 1) / height * 100}
    value = {"x": x0 / width * 100, "y": y0 / height * 100, **sides, "rotation": 0, "rectanglelabels": [name]}
    links = {"id": number, "type": "rectanglelabels", "from_name": _LABEL, "to_name": _IMAGE}
    return {**links, "original_width": width, "original_height": height, "image_rotation": 0, "value": value}
