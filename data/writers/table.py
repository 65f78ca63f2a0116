"""Writer of a CSV table with one row per object."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from data.annotation import plain
from data.records import Dataset, ImageRecord
from data.units import Unit, unit_of
from data.writers.checks import check_upright, class_names, corners_of
from data.writers.photos import Photos, file_names

DIFFICULT = False
"""Whether the format has a flag for difficult objects."""

NAME = "labels.csv"
COLUMNS = ("file", "xmin", "ymin", "xmax", "ymax", "class", "split")


def write(folder: Path, datasets: Mapping[str, Dataset], photos: Photos) -> None:
    """Write labels.csv and images/SPLIT. Corners are 0-based inclusive pixels of the photo as viewers show it.

    A photo without objects has one row without a box.

    Args:
        folder: an empty folder.
        datasets: split name -> its images.
        photos: puts the photos there.

    Raises:
        ValueError: the name of a class or photo has characters that label files cannot hold, the labels of a photo are
            not for the photo as viewers show it, or a box in its first two pixels could be taken for fractions.
        OSError: a photo cannot be read, or a file cannot be written.
    """
    class_names(datasets)
    with (folder / NAME).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for split, dataset in datasets.items():
            names = file_names({split: dataset})
            for record in dataset:
                check_upright(record, "CSV")
                place = Path("images", split, names[record.path])
                photos.put(record.path, folder / place)
                rows.writerows((place.as_posix(), *row, split) for row in _objects(record, dataset.classes))


def _objects(record: ImageRecord, classes: tuple[str, ...]) -> Iterator[tuple[object, ...]]:
    """Corners and class of each object; five empty cells if there is none."""
    if not len(record.boxes):
        yield ("",) * 5
    for corners, label in zip(corners_of(record), record.labels.tolist(), strict=True):
        if unit_of(corners) is Unit.FRACTIONS:
            raise ValueError(f"{record.path}: box {corners} would be taken for fractions; remove it or write VOC")
        yield (*map(plain, corners), classes[label])
