"""Writes data sets in the formats that other programs read, and that the readers of this package read back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from data.records import Dataset
from data.temporary import temporary_folder
from data.writers import coco, cvat, label_studio, table, voc, yolo
from data.writers.checks import check_splits
from data.writers.photos import Photos

FORMATS = {"voc": voc, "coco": coco, "yolo": yolo, "csv": table, "cvat": cvat, "label-studio": label_studio}


def write(folder: str | os.PathLike[str], datasets: Mapping[str, Dataset], format: str, copy: bool = False) -> Photos:
    """Write the splits of a data set with their photos into a new folder, which appears whole or not at all.

    Photos are hard links to the originals, which take no space, or copies where the file system has no such links.

    Args:
        folder: the folder to write; it must be absent or empty.
        datasets: split name -> its images; classes of the same name are one class.
        format: one of `FORMATS`.
        copy: copy all photos, so that they can be changed without the originals.

    Returns:
        how many photos were linked and copied.

    Raises:
        FileExistsError: the folder holds something.
        ValueError: the format is unknown, or cannot hold the data set: a name in it, or a photo that its labels do not
            fit.
        OSError: a photo cannot be read, or the folder cannot be written.
    """
    if format not in FORMATS:
        raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    target, photos = Path(folder), Photos(copy)
    check_splits(datasets)
    with new_folder(target) as making:
        FORMATS[format].write(making, datasets, photos)
    return photos


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of an absent or empty one when the context ends without error.

    Raises:
        FileExistsError: the folder holds something.
        OSError: it cannot be written.
    """
    check_absent(folder)
    making = temporary_folder(folder)
    try:
        making.mkdir(parents=True)
        yield making
        if folder.exists():
            folder.rmdir()
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def check_absent(folder: Path) -> None:
    """Check that a folder is absent or empty.

    Raises:
        FileExistsError: it holds something, or is a file.
    """
    if os.path.lexists(folder) and (not folder.is_dir() or folder.is_symlink() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: exists, and nothing is overwritten; name a new or empty folder")
