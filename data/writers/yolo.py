"""Writer of YOLO: images/SPLIT, labels/SPLIT and data.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data.records import Dataset, ImageRecord
from data.writers.checks import check_upright, class_names, corners_of
from data.writers.photos import Photos, file_names

DIFFICULT = False
"""Whether the format has a flag for difficult objects."""

_KEYS = ("train", "val", "test")
_OTHER_SPLITS = "# The splits are the folders in images; YOLO trains with keys train and val that name two of them.\n"


def write(folder: Path, datasets: Mapping[str, Dataset], photos: Photos) -> None:
    """Write photos, one label file per photo, also for photos without objects, and the names of the classes.

    Centre, width and height are fractions of the photo as viewers show it. This package's reader rounds corners to a
    hundredth of a pixel. Where all splits are called train, val or test, data.yaml names their folders.

    Args:
        folder: an empty folder.
        datasets: split name -> its images.
        photos: puts the photos there.

    Raises:
        ValueError: the name of a class or photo has characters that label files cannot hold, or the labels of a photo
            are not for the photo as viewers show it.
        OSError: a photo cannot be read, or a file cannot be written.
    """
    classes = class_names(datasets)
    for split, dataset in datasets.items():
        number = {label: classes.index(name) for label, name in enumerate(dataset.classes)}
        names = file_names({split: dataset})
        (folder / "labels" / split).mkdir(parents=True)
        for record in dataset:
            check_upright(record, "YOLO")
            photos.put(record.path, folder / "images" / split / names[record.path])
            rows = zip(record.labels.tolist(), _fractions(record), strict=True)
            text = "".join(f"{number[label]} {' '.join(f'{v:.10g}' for v in box)}\n" for label, box in rows)
            (folder / "labels" / split / f"{Path(names[record.path]).stem}.txt").write_text(text, "utf-8")
    usual = all(split in _KEYS for split in datasets)
    content: dict[str, Any] = {split: f"images/{split}" for split in datasets} if usual else {}
    content |= {"nc": len(classes), "names": list(classes)}
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    (folder / "data.yaml").write_text(("" if usual else _OTHER_SPLITS) + text, "utf-8")


def _fractions(record: ImageRecord) -> list[tuple[float, float, float, float]]:
    """Centre x, centre y, width and height of each object, in fractions of the photo."""
    height, width = record.size
    return [
        ((x0 + x1 + 1) / 2 / width, (y0 + y1 + 1) / 2 / height, (x1 - x0 + 1) / width, (y1 - y0 + 1) / height)
        for x0, y0, x1, y1 in corners_of(record)
    ]
