"""Photos labelled with classes instead of boxes: one folder per class, or the objects of a detection data set."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.files import PHOTOS, warn_of_others
from data.folders import files_below, folders_in
from data.names import listed
from data.records import Dataset
from data.split_names import for_purpose, kind_of

HOW = "expected one folder of photos per class, or such folders within train and test (or val)"
log = logging.getLogger(__name__)

BACKGROUND = "BACKGROUND_Google"  # one of Caltech-101's 102 categories in the usual protocol


@dataclass(frozen=True, eq=False)
class LabelledPhotos:
    """N photos and the classes they show.

    Attributes:
        name: name of the data set and split, for messages.
        classes: names of the K classes, in label order.
        paths: the N photo files.
        truth: int8 (N, K): 1 where the photo shows the class, -1 where it does not, 0 where the pair is ignored.
    """

    name: str
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    truth: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Any) -> LabelledPhotos:
        """Select photos by a slice, an index array or a mask."""
        places = np.arange(len(self))[rows]
        return LabelledPhotos(self.name, self.classes, tuple(self.paths[i] for i in places), self.truth[places])

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (N,), the class of each photo.

        Raises:
            ValueError: a photo does not have exactly one class.
        """
        counts = (self.truth == 1).sum(axis=1)
        if len(counts) and (counts != 1).any():
            wrong = self.paths[int((counts != 1).argmax())]
            raise ValueError(f"{self.name}: {wrong} has {counts[counts != 1][0]} classes, expected one per photo")
        return (self.truth == 1).argmax(axis=1)


def from_folder(root: str | os.PathLike[str], classes: Sequence[str] | None = None) -> LabelledPhotos:
    """Read a folder that holds one folder of photos per class.

    The name of a folder is the name of its class; photos in nested folders are included.

    Args:
        root: the folder of class folders, or a folder that holds nothing but such a folder named train; files beside
            them and hidden folders are ignored.
        classes: class names in label order; None: the names of the folders, sorted. Folders of other classes are
            left out with a warning.

    Raises:
        FileNotFoundError: the folder does not exist or holds no folders.
        ValueError: a folder holds no photo, no folder is one of `classes`, or there are fewer than two classes.
    """
    path = Path(root)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder; {HOW}")
    folders = folders_in(path)
    if [kind_of(p.name) for p in folders] == ["train"] and len(folders_in(folders[0])) > 1:
        folders = folders_in(folders[0])
    if not folders:
        raise FileNotFoundError(f"{path}: holds no folders; {HOW}")
    known = tuple(classes or (p.name for p in folders))
    found = {p.name: photos_in(p) for p in folders}
    strangers = {name: len(found.pop(name)) for name in sorted(found.keys() - set(known))}
    if not found:
        raise ValueError(f"{path}: none of its folders is one of the {len(known)} classes, such as {known[0]}")
    if strangers:
        counts = listed([f"{name} ({count})" for name, count in strangers.items()])
        number = sum(strangers.values())
        log.warning("%s: left out %d photos, of classes unknown from training: %s", path, number, counts)
    empty = [p for p in folders if not found.get(p.name, True)]
    if empty:
        raise ValueError(f"{empty[0]}: holds no photos; add some or remove the folder")
    if len(known) < 2:
        raise ValueError(f"{path}: holds only one class, {known[0]}; {HOW}, for two or more classes")
    paths = tuple(photo for photos in found.values() for photo in photos)
    labels = np.repeat([known.index(name) for name in found], [len(photos) for photos in found.values()])
    return LabelledPhotos(path.resolve().name, known, paths, one_class(labels, len(known)))


def splits(root: str | os.PathLike[str]) -> tuple[str, str] | None:
    """Return the names of the training and the test folder, or None if the data set does not have both.

    Raises:
        ValueError: several folders could be one of them.
    """
    names = [p.name for p in folders_in(Path(root))]
    train, test = for_purpose(names, "train"), for_purpose(names, "test")
    if not train or not test:
        return None
    several = next((found for found in (train, test) if len(found) > 1), None)
    if several:
        raise ValueError(f"{root}: {' and '.join(several)} could each be one split; rename all but one")
    return train[0], test[0]


def photos_in(folder: Path) -> list[Path]:
    """Return the photos in a folder and its subfolders, sorted, without hidden ones; a warning counts other files.

    Links to folders are followed.
    """
    files = files_below(folder)
    found = [p for p in files if p.suffix.lower() in PHOTOS]
    warn_of_others(folder, files, found)
    return found


def one_class(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.int8]:
    """Turn labels into ground truth: int64 (N,) -> int8 (N, K), 1 at the label and -1 elsewhere."""
    return np.where(np.arange(n_classes) == labels[:, None], 1, -1).astype(np.int8)


def of_objects(dataset: Dataset) -> LabelledPhotos:
    """Return the classes of the objects in each photo of a detection data set.

    A class is ignored (0) in photos where all its objects are difficult, as in the devkit's lists of single classes
    (cat_train.txt and so on).
    """
    truth = np.full((len(dataset), len(dataset.classes)), -1, np.int8)
    for row, record in zip(truth, dataset, strict=True):
        row[record.labels[record.difficult]] = 0
        row[record.labels[~record.difficult]] = 1
    return LabelledPhotos(dataset.name, dataset.classes, tuple(r.path for r in dataset), truth)


def divide(photos: LabelledPhotos, train: int, test: int | None, seed: int) -> tuple[LabelledPhotos, LabelledPhotos]:
    """Draw training and test photos of each class at random.

    Args:
        photos: photos with one class each.
        train: number of training photos per class.
        test: maximum number of test photos per class, from the remaining ones; None: all of them.
        seed: random seed.

    Raises:
        ValueError: a class has no photo left to test on.
    """
    rng, labels = np.random.default_rng(seed), photos.labels
    chosen: tuple[list[int], list[int]] = ([], [])
    for k, name in enumerate(photos.classes):
        order = rng.permutation(np.flatnonzero(labels == k))
        if len(order) <= train:
            raise ValueError(
                f"{photos.name}: {name} has {len(order)} photos, expected {train} for training and one for testing"
            )
        rest = len(order) if test is None else train + test
        chosen[0].extend(order[:train].tolist())
        chosen[1].extend(order[train:rest].tolist())
    return photos[sorted(chosen[0])], photos[sorted(chosen[1])]
