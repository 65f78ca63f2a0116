"""What written data sets hold: names that survive, corners, photos that their labels fit."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import PureWindowsPath

from data.files import image_size
from data.records import Dataset, ImageRecord

_UNWRITABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of characters, separators of lines
_DECIMALS = 4  # of corners in pixels; float32 has no more for photos of 2,000 pixels
_NO_CHARACTERS = "\ufffe\uffff"  # not allowed in XML


def class_names(datasets: Mapping[str, Dataset]) -> tuple[str, ...]:
    """Return the classes of all splits, in the order of the first split that has them.

    Raises:
        ValueError: a name is empty, has line breaks or other control characters, or begins or ends with a blank.
    """
    names = tuple(dict.fromkeys(name for dataset in datasets.values() for name in dataset.classes))
    for name in names:
        check_text(name, "class")
    return names


def check_text(name: str, what: str) -> None:
    """Check that a name survives in a text file.

    Args:
        name: of a class or file.
        what: that is, the start of the error message.

    Raises:
        ValueError: it is empty, has line breaks or other control characters, or begins or ends with a blank.
    """
    if any(unicodedata.category(c) in _UNWRITABLE or c in _NO_CHARACTERS for c in name):
        raise ValueError(f"{what} {name!r} has line breaks or other characters that label files cannot hold; rename it")
    if name != name.strip() or not name:
        raise ValueError(f"{what} {name!r} is empty, or begins or ends with a blank; rename it")


def check_splits(datasets: Mapping[str, Dataset]) -> None:
    """Check the names of splits, which become names of files and folders.

    Raises:
        ValueError: a name is no plain file name, two differ only in case, or a split has no photos.
    """
    if len({split.casefold() for split in datasets}) < len(datasets):
        raise ValueError(f"splits {', '.join(datasets)}: two names differ only in case; rename one")
    for split, dataset in datasets.items():
        check_text(split, "split")
        if split.startswith(".") or PureWindowsPath(split).name != split:
            raise ValueError(f"split {split!r} is not a plain file name; rename it")
        if not len(dataset):
            raise ValueError(f"{dataset.name}: has no photos to write")


def corners_of(record: ImageRecord) -> list[list[float]]:
    """Return the corners of the objects of a photo, rounded to a ten-thousandth of a pixel: (G, 4)."""
    return [[round(v, _DECIMALS) for v in box] for box in record.boxes.tolist()]


def check_upright(record: ImageRecord, format: str) -> None:
    """Check that a photo has the size that its labels are for, as viewers show it.

    Args:
        record: the photo.
        format: name of a format whose files do not state sizes.

    Raises:
        OSError, ValueError: it has another size, for example if its labels ignore that viewers turn it.
    """
    height, width = image_size(record.path)
    if (height, width) != record.size:
        raise ValueError(
            f"{record.path}: viewers show {width} x {height} pixels, its labels are for {record.size[1]} x "
            f"{record.size[0]}, which {format} cannot say; turn or replace the photo, or write VOC or COCO"
        )
