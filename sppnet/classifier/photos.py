"""The labelled photos and the run folder that settings name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from data import class_folders
from data.class_folders import LabelledPhotos
from data.voc import is_voc
from sppnet.settings.base import Settings
from sppnet.settings.classifier import BenchmarkSettings, PhotoSettings

ALL = "all"  # the split of photos without train and test folders
CLASSIFIER = "classifier"  # folder of the trained classifier within the run folder


def run_folder(settings: PhotoSettings) -> Path:
    """Return the run folder that is set, or runs/NAME-classification of the data set.

    Raises:
        ValueError: no data set is named.
    """
    if settings.run:
        return settings.run
    benchmarks = ("voc2007", "caltech101") if isinstance(settings, BenchmarkSettings) else ()
    known = next((name for name in benchmarks if getattr(settings, name)), None)
    return Path("runs") / f"{known or Path(os.path.abspath(_named(settings.data))).name}-classification"


def refuse(settings: Settings, why: str, *names: str) -> None:
    """Refuse settings that would change nothing.

    Raises:
        ValueError: one of them is set.
    """
    for name in names:
        if getattr(settings, name, None):
            raise ValueError(f"--{name.replace('_', '-')}: {why}; leave it out")


def photos_of_folder(data: Path | None, limit: int | None = None) -> dict[str, LabelledPhotos]:
    """Read the photos of a folder by split.

    Args:
        data: a folder with one folder of photos per class, or with train and test folders of such folders.
        limit: only the first so many photos of each class; None: all.

    Returns:
        "train" and "test" -> photos, or `ALL` -> photos where there are no such folders.

    Raises:
        FileNotFoundError, ValueError: no folder is named, or it is not as expected.
    """
    root = _named(data)
    if is_voc(root):
        raise ValueError(
            f"{root}: a data set in VOC layout; give one folder of photos per class, or `sppnet classifier train "
            "--voc2007`"
        )
    names = class_folders.splits(root)
    if names is None:
        return {ALL: limited(class_folders.from_folder(root), limit)}
    train = class_folders.from_folder(root / names[0])
    test = class_folders.from_folder(root / names[1], train.classes)
    return {"train": limited(train, limit), "test": limited(test, limit)}


def photos_of_benchmark(settings: BenchmarkSettings) -> dict[str, LabelledPhotos]:
    """Read the photos of VOC 2007, Caltech-101 or a folder by split.

    Args:
        settings: name the data set.

    Returns:
        split -> photos: the training split first, then the test split; or as `photos_of_folder`.

    Raises:
        FileNotFoundError, ValueError: there is no such data set, it is not as expected, or settings contradict each
            other.
        OSError: the download fails.
    """
    s = settings
    if s.voc2007 and (s.data or s.caltech101):
        raise ValueError("--voc2007 names the data set; leave --data and --caltech101 out (--devkit says where it is)")
    if s.voc2007:
        return _voc(s)
    refuse(s, "only for --voc2007", "devkit", "train_split", "test_split", "metric")
    if s.caltech101 and s.data is None:
        return photos_of_folder(_caltech(s), s.limit)
    refuse(s, "fetches VOC 2007 or Caltech-101, not the photos of --data", "download")
    return photos_of_folder(s.data, s.limit)


def divide_by_share(
    photos: LabelledPhotos, share: float, seed: int, max_test: int | None = None
) -> tuple[LabelledPhotos, LabelledPhotos]:
    """Draw a share of each class for training; the other photos are for testing.

    Args:
        photos: with one class each.
        share: fraction of each class to train on, in (0, 1); at least one photo is drawn and at least one is left.
        seed: random seed.
        max_test: use at most so many test photos per class; None: all.

    Raises:
        ValueError: a class has only one photo.
    """
    train, test = [], []
    for k, name in enumerate(photos.classes):
        order = np.random.default_rng([seed, k]).permutation(np.flatnonzero(photos.labels == k))
        if len(order) < 2:
            raise ValueError(
                f"{photos.name}: class {name} has one photo, expected at least one for training and one for testing"
            )
        count = min(max(1, round(share * len(order))), len(order) - 1)
        train.append(order[:count])
        test.append(order[count:][:max_test])
    return photos[np.sort(np.concatenate(train))], photos[np.sort(np.concatenate(test))]


def limited(photos: LabelledPhotos, limit: int | None) -> LabelledPhotos:
    """Return the first `limit` photos of each class; None: all photos."""
    if limit is None:
        return photos
    rows = [np.flatnonzero(photos.labels == k)[:limit] for k in range(len(photos.classes))]
    return replace(photos[np.sort(np.concatenate(rows))], name=f"{photos.name} (--limit {limit})")


def _named(data: Path | None) -> Path:
    if data is None:
        raise ValueError("which photos? give --data with a folder that holds one folder of photos per class")
    return data


def _voc(s: BenchmarkSettings) -> dict[str, LabelledPhotos]:
    from data import voc
    from data.download import download_voc

    first, second = s.train_split or "trainval", s.test_split or "test"
    if first == second:
        raise ValueError(f"--test-split {second}: this is the training split; name another split")
    if s.download and s.devkit:
        raise ValueError("--download fetches VOC 2007 into --data-root; leave --devkit out, or --download")
    devkit = download_voc(s.data_root, "2007") if s.download else s.devkit
    root = devkit or s.data_root / "VOCdevkit"
    train = voc.load(root, "2007", first)
    test = voc.load(root, "2007", second, classes=train.classes)
    return {name: class_folders.of_objects(part)[: s.limit] for name, part in ((first, train), (second, test))}


def _caltech(s: BenchmarkSettings) -> Path:
    """The folder of Caltech-101 in the data root."""
    from data.download import download_caltech101

    if s.download:
        return download_caltech101(s.data_root)
    return s.data_root / "caltech101" / "101_ObjectCategories"
