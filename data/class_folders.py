"""Photos with classes rather than boxes: a folder a class, or the classes of a detection data set's objects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.files import PHOTOS
from data.records import Dataset

HOW = "expected a folder a class with its photos, or train and test (or val) of such folders"
BACKGROUND = "BACKGROUND_Google"  # of Caltech-101: one of its 102 categories, by the usual protocol


@dataclass(frozen=True, eq=False)
class LabelledPhotos:
    """N photos and which of K classes are in them.

    Attributes:
        name: of the data set and split, for messages.
        classes: names of the K classes, in label order.
        paths: of the photos.
        truth: int8 (N, K): 1 where a class is in a photo, -1 where not, 0 where neither counts.
    """

    name: str
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    truth: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Any) -> LabelledPhotos:
        """Some of the photos."""
        places = np.arange(len(self))[rows]
        return LabelledPhotos(self.name, self.classes, tuple(self.paths[i] for i in places), self.truth[places])

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (N,), the class of each photo.

        Raises:
            ValueError: some photo has not exactly one.
        """
        counts = (self.truth == 1).sum(axis=1)
        if len(counts) and (counts != 1).any():
            wrong = self.paths[int((counts != 1).argmax())]
            raise ValueError(f"{self.name}: {wrong} has {counts[counts != 1][0]} classes; expected one a photo")
        return (self.truth == 1).argmax(axis=1)


def from_folder(root: str | os.PathLike[str], classes: Sequence[str] | None = None) -> LabelledPhotos:
    """A folder a class, its name the class; photos in folders within count too.

    Args:
        root: that holds the folders; files beside them and hidden folders are left alone.
        classes: names in label order; None: those of the folders, sorted.

    Raises:
        FileNotFoundError: no such folder, or none in it.
        ValueError: a class has no photo, or is not one of `classes`.
    """
    path = Path(root)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder; {HOW}")
    names = sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not names:
        raise FileNotFoundError(f"{path}: holds no folders; {HOW}")
    known = tuple(classes or names)
    strangers = sorted(set(names) - set(known))
    if strangers:
        raise ValueError(f"{path}: folder {strangers[0]} is none of the {len(known)} classes; remove or rename it")
    found = {name: photos_in(path / name) for name in names}
    empty = [name for name, photos in found.items() if not photos]
    if empty:
        raise ValueError(f"{path / empty[0]}: holds no photo; put some in, or remove the folder")
    if len(known) < 2:
        raise ValueError(f"{path}: holds one class, {known[0]}; two or more are needed to tell apart; {HOW}")
    paths = tuple(photo for photos in found.values() for photo in photos)
    labels = np.repeat([known.index(name) for name in names], [len(found[name]) for name in names])
    return LabelledPhotos(path.resolve().name, known, paths, one_class(labels, len(known)))


def splits(root: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Names of the training and the test folder of a data set that is divided; None for one that is not."""
    path = Path(root)
    test = next((name for name in ("test", "val", "valid", "validation") if (path / name).is_dir()), None)
    return ("train", test) if test and (path / "train").is_dir() else None


def photos_in(folder: Path) -> list[Path]:
    """Photos in a folder and those within it, sorted; nothing hidden, such as .ipynb_checkpoints, is taken."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in PHOTOS and p.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def one_class(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.int8]:
    """int64 (N,) -> int8 (N, K), 1 at the label and -1 elsewhere."""
    return np.where(np.arange(n_classes) == labels[:, None], 1, -1).astype(np.int8)


def of_objects(dataset: Dataset) -> LabelledPhotos:
    """Which classes of objects are in each photo of a detection data set.

    A class whose objects in a photo are all difficult counts neither way there, as in the lists of single classes
    of VOC's devkit (cat_train.txt and so on), which say so by a 0.
    """
    truth = np.full((len(dataset), len(dataset.classes)), -1, np.int8)
    for row, record in zip(truth, dataset, strict=True):
        row[record.labels[record.difficult]] = 0
        row[record.labels[~record.difficult]] = 1
    return LabelledPhotos(dataset.name, dataset.classes, tuple(r.path for r in dataset), truth)


def divide(photos: LabelledPhotos, train: int, test: int | None, seed: int) -> tuple[LabelledPhotos, LabelledPhotos]:
    """So many photos of each class to train on, and at most so many of the others to test on, drawn by a seed.

    Raises:
        ValueError: a class has too few photos.
    """
    rng, labels = np.random.default_rng(seed), photos.labels
    chosen: tuple[list[int], list[int]] = ([], [])
    for k, name in enumerate(photos.classes):
        order = rng.permutation(np.flatnonzero(labels == k))
        if len(order) <= train:
            raise ValueError(f"{photos.name}: {name} has {len(order)} photos; {train} to train on and one to test on")
        rest = len(order) if test is None else train + test
        chosen[0].extend(order[:train].tolist())
        chosen[1].extend(order[train:rest].tolist())
    return photos[sorted(chosen[0])], photos[sorted(chosen[1])]
