"""Convert labelled photos from one format into another."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import datasets, writers
from sppnet.output_files import remove_leftovers_beside
from sppnet.settings.commands import DatasetFormat

PathLike = str | os.PathLike[str]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        splits: split -> numbers of "photos" and "objects".
        linked: number of photos that are hard links to the originals.
        copied: number of photos that were copied.
        flags_lost: number of difficult objects that the format cannot mark.
        bad: split -> photo id -> why the photo was left out.
    """

    splits: dict[str, dict[str, int]]
    linked: int
    copied: int
    flags_lost: int
    bad: dict[str, dict[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for json."""
        return dict(vars(self))


def convert_dataset(
    data: PathLike,
    to: PathLike,
    format: DatasetFormat,
    *,
    splits: Sequence[str] | None = None,
    copy: bool = False,
    skip_bad: bool = False,
    images: PathLike | None = None,
) -> Conversion:
    """Write labelled photos in another format, into a new folder that appears whole or not at all.

    Photos are hard links to the originals, which take no space, or copies where the file system has no such links.
    Difficult objects are marked in VOC, CVAT and, as crowds, in COCO; for other formats a warning counts them.

    Args:
        data: labelled photos in any layout that `data.datasets` reads.
        to: folder to write; it must be absent or empty, and not within the data.
        format: "voc", "coco", "yolo", "csv", "cvat" or "label-studio".
        splits: to write; None: all that the data defines. "train" and "test" divide data without splits.
        copy: copy all photos, so that they can be changed without the originals.
        skip_bad: leave out unusable photos, with a warning, instead of raising.
        images: folder of the photos; None: in the data.

    Raises:
        FileNotFoundError: there is no such data set or split.
        FileExistsError: the folder holds something.
        OSError, ValueError: the data cannot be read, or the format cannot hold it.

    Examples:
        >>> sppnet.convert_dataset("my_photos", "my_photos_yolo", "yolo").splits  # doctest: +SKIP
    """
    source, target = Path(data), Path(to)
    if source.is_dir() and source.resolve() in (target.resolve(), *target.resolve().parents):
        raise ValueError(f"{target}: lies in the data set; name a folder outside of {source}")
    writers.check_absent(target)
    read = datasets.load_all(source, splits, skip_bad=skip_bad, images=images)
    remove_leftovers_beside(target)
    photos = writers.write(target, read, format, copy)
    flags = sum(int(record.difficult.sum()) for dataset in read.values() for record in dataset)
    lost = 0 if writers.FORMATS[format].DIFFICULT else flags
    if lost:
        log.warning("%s: difficult objects that %s cannot mark, written as ordinary ones: %d", source, format, lost)
    counts = {
        split: {"photos": len(dataset), "objects": sum(len(record.boxes) for record in dataset)}
        for split, dataset in read.items()
    }
    return Conversion(counts, photos.linked, photos.copied, lost, {split: d.bad for split, d in read.items()})
