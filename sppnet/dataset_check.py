"""Check a labelled data set before training: what it holds, what is wrong with it, and how its labels look."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from data import checks
from data.near_duplicates import Look, Looks, look_of
from data.records import Dataset, ImageRecord
from detection import image
from detection.detections import Detections
from detection.pictures import drawing
from detection.pictures.contact_sheet import tile
from sppnet.detector import small_objects
from sppnet.detector.proposals import search_of
from sppnet.errors import one_line
from sppnet.progress import progress
from sppnet.run import DataSource
from sppnet.settings.train import TrainSettings

UNUSABLE = "unusable photos"
TILE, COLUMNS = (400, 300), 4  # width and height of a photo on the sheet in pixels, and photos per row


@dataclass(frozen=True, eq=False)
class SplitCheck:
    """One split of a data set.

    Attributes:
        dataset: the images that the reader can use.
        counts: class -> numbers of images, of objects, and of objects by size; see `data.checks.class_counts`.
        faults: kind of fault -> where: image id -> reason for unusable photos, image ids or remarks for the others.
        advice: one line on objects that are too small for the windows of `sppnet train`; None if there are none.
    """

    dataset: Dataset
    counts: dict[str, dict[str, int]]
    faults: dict[str, dict[str, str] | list[str]]
    advice: str | None = None

    @property
    def empty(self) -> int:
        """Number of images without objects."""
        return sum(not len(record.boxes) for record in self.dataset)

    def first_file(self, kind: str) -> Path | None:
        """The photo of the first fault of a kind, if the fault is of a photo that the reader can use."""
        paths = {record.id: record.path for record in self.dataset}
        first = next(iter(self.faults[kind]), "")
        return paths.get(first.split(": ")[0])


@dataclass(frozen=True, eq=False)
class DatasetCheck:
    """What was found in a data set.

    Attributes:
        splits: name -> what the split holds, and its faults.
        shared: groups of files with the same contents that lie in more than one split, as (split, file).
        alike: pairs of other photos in two splits that look alike, as (split, file).
    """

    splits: dict[str, SplitCheck]
    shared: list[list[tuple[str, Path]]]
    alike: list[list[tuple[str, Path]]]

    @property
    def unusable(self) -> int:
        """Number of photos that cannot be used."""
        return sum(len(split.faults[UNUSABLE]) for split in self.splits.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values for json."""
        return {
            "counts": {name: split.counts for name, split in self.splits.items()},
            "sizes": {name: checks.photo_sizes(split.dataset) for name, split in self.splits.items()},
            "faults": {name: split.faults for name, split in self.splits.items()},
            "in_several_splits": _plain(self.shared),
            "alike_in_several_splits": _plain(self.alike),
        }


def _plain(groups: Sequence[Sequence[tuple[str, Path]]]) -> list[list[list[str]]]:
    return [[[name, str(path)] for name, path in group] for group in groups]


def check_dataset(source: DataSource, splits: Sequence[str] | None = None) -> DatasetCheck:
    """Read annotations and photos of a data set, and count classes and faults.

    Args:
        source: the data set.
        splits: to check; None: those that are used for training and testing, or all if their names do not say which.

    Raises:
        FileNotFoundError: there is no such data set or split.
        ValueError: the data set as a whole cannot be read.
    """
    read: dict[str, Dataset] = {}
    for split in splits or source.splits_to_check():
        classes = next(iter(read.values())).classes if read else None
        read[split] = source.load(split, classes, skip_bad=True)
    groups = checks.same_files({split: [r.path for r in dataset] for split, dataset in read.items()})
    shared = [group for group in groups if len({split for split, _ in group}) > 1]
    looks: dict[str, dict[Path, Look]] = {}
    with progress(sum(map(len, read.values())), 0, "img", "photos") as bar:
        found = {split: _check_split(dataset, looks.setdefault(split, {}), bar) for split, dataset in read.items()}
    content = {path: number for number, group in enumerate(shared) for _, path in group}
    return DatasetCheck(found, shared, list(_alike(looks, content)))


def _alike(looks: Mapping[str, Mapping[Path, Look]], content: Mapping[Path, int]) -> Iterator[list[tuple[str, Path]]]:
    """Yield pairs of photos in two splits that look alike, without those of the same content."""
    for (first, mine), (second, others) in combinations(looks.items(), 2):
        paths, other_paths = list(mine), list(others)
        for i, j in Looks.of(list(mine.values())).alike(Looks.of(list(others.values()))):
            if paths[i] not in content or content[paths[i]] != content.get(other_paths[j]):
                yield [(first, paths[i]), (second, other_paths[j])]


def photo_sheet(check: DatasetCheck, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw photos with their objects, tiled into one sheet.

    Args:
        check: of the data set.
        count: number of photos; unusable ones are left out.
        seed: chooses the photos.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ValueError: no photo can be read.
    """
    records = [(name, split.dataset, record) for name, split in check.splits.items() for record in split.dataset]
    random.Random(seed).shuffle(records)
    pictures: list[NDArray[np.uint8]] = []
    captions: list[str] = []
    for name, dataset, record in records:
        if len(pictures) == count:
            break
        if record.id not in check.splits[name].faults[UNUSABLE]:
            pictures.append(_drawn(record, dataset.classes))
            captions.append(f"{name}: {record.id}")
    if not pictures:
        raise ValueError("no photo can be read, so there is none to draw; correct the data set")
    return tile(pictures, captions, COLUMNS)


def _drawn(record: ImageRecord, classes: Sequence[str]) -> NDArray[np.uint8]:
    """A photo with its objects, of the size of a tile."""
    photo = image.read(record.path, record.size)
    drawn = drawing.draw_comparison(photo, Detections.empty(), record, classes)
    return np.asarray(ImageOps.pad(Image.fromarray(drawn), TILE, color="white"))


def _check_split(dataset: Dataset, looks: dict[Path, Look], bar: Any) -> SplitCheck:
    """Check a split; `looks` receives what its photos look like."""
    search = search_of(TrainSettings())
    small = small_objects.find_small(dataset, search)
    faults = _faults(dataset, looks, bar) | {"objects too small for candidate windows": list(map(str, small))}
    return SplitCheck(dataset, checks.class_counts(dataset), faults, small_objects.advice(dataset, search))


def _faults(dataset: Dataset, looks: dict[Path, Look], bar: Any) -> dict[str, dict[str, str] | list[str]]:
    unusable, unknown = dict(dataset.bad), dataset.unknown.items()
    for record in dataset:
        try:
            looks[record.path] = look_of(image.read(record.path, record.size))
        except (OSError, ValueError) as error:
            unusable[record.id] = one_line(error)
        bar.update()
    return {
        UNUSABLE: unusable,
        "boxes that mark nothing": list(dataset.dropped),
        "boxes over the border": list(dataset.clipped),
        "objects of classes that training lacks": [f"{i}: {name}" for i, all_of in unknown for name in all_of],
        **{kind: list(remarks) for kind, remarks in dataset.notes.items()},
    }
