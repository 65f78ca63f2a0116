"""Which labelled photos a command works on, how a network looks at them, and where the work is kept."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from data import class_folders
from data.class_folders import LabelledPhotos
from data.voc import is_voc
from tools import common

ALL = "all"  # the split of photos that are not divided


def photo_flags(p: argparse.ArgumentParser) -> None:
    """Which photos, and where the work is kept."""
    p.add_argument("--data", type=Path, metavar="FOLDER", help="a folder a class; or train and test of such folders")
    p.add_argument("--run", type=Path, help="folder of this run's artefacts (runs/<name of the data>-classification)")
    p.add_argument("--limit", type=common.positive, help="use only N photos, of each class or split")
    p.add_argument("--overwrite", action="store_true", help="do finished work again")
    p.add_argument("--seed", type=common.seed, default=0, help="of everything random (%(default)s)")


def benchmark_flags(p: argparse.ArgumentParser) -> None:
    """Which of the data sets that the paper uses."""
    p.add_argument("--voc2007", action="store_true", help="Pascal VOC 2007: which classes are in a photo")
    p.add_argument("--caltech101", action="store_true", help="Caltech-101: 30 photos of each class to train on")
    p.add_argument("--devkit", type=Path, help="a VOCdevkit, with --voc2007")
    p.add_argument("--data-root", type=Path, default=Path("datasets"), help="where data sets lie (%(default)s)")
    p.add_argument("--download", action="store_true", help="fetch the data set into the data root if it is not there")
    p.add_argument("--train-split", metavar="NAME", help="of VOC 2007 (trainval)")
    p.add_argument("--test-split", metavar="NAME", help="of VOC 2007 (test)")


def network_flags(p: argparse.ArgumentParser) -> None:
    """How the network computes."""
    p.add_argument("--weights", type=Path, metavar="FILE", help="of the convolutions, instead of the pretrained ones")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    p.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the convolutions (%(default)s)")


def folder_of(options: common.Options) -> Path:
    """The run folder.

    Raises:
        ValueError: nothing says which.
    """
    if options.run:
        return Path(options.run)
    known = next((name for name in ("voc2007", "caltech101") if getattr(options, name, False)), None)
    return Path("runs") / f"{known or Path(os.path.abspath(_data(options))).name}-classification"


def refuse(options: common.Options, why: str, *names: str) -> None:
    """Flags that would change nothing.

    Raises:
        ValueError: one was given.
    """
    for name in names:
        if getattr(options, name, None):
            raise ValueError(f"--{name.replace('_', '-')}: {why}; leave it out")


def of_folder(options: common.Options) -> dict[str, LabelledPhotos]:
    """Photos of --data by split: its train and test folders, or "all".

    Raises:
        FileNotFoundError, ValueError: the folder is not as expected.
    """
    root = _data(options)
    if is_voc(root):
        raise ValueError(f"{root}: VOC's layout; expected a folder a class (classify takes VOC by --voc2007)")
    names = class_folders.splits(root)
    if names:
        train = class_folders.from_folder(root / names[0])
        test = class_folders.from_folder(root / names[1], train.classes)
        return {"train": limited(train, options.limit), "test": limited(test, options.limit)}
    return {ALL: limited(class_folders.from_folder(root), options.limit)}


def of_benchmark(options: common.Options) -> dict[str, LabelledPhotos]:
    """Photos by split, of the data set that the flags name.

    Raises:
        FileNotFoundError, ValueError: no such data set, or not as expected.
        OSError: it cannot be downloaded.
    """
    if options.voc2007 and (options.data or options.caltech101):
        raise ValueError("--voc2007 names the data set: leave --data and --caltech101 out, or give --devkit")
    if options.voc2007:
        return _voc(options)
    refuse(options, "goes with --voc2007", "devkit", "train_split", "test_split", "metric")
    if options.caltech101 and options.data is None:
        options.data = _caltech(options)
    else:
        refuse(options, "fetches VOC 2007 or Caltech-101, not what --data names", "download")
    return of_folder(options)


def halves(
    photos: LabelledPhotos, share: float, seed: int, at_most: int | None = None
) -> tuple[LabelledPhotos, LabelledPhotos]:
    """A share of each class' photos, at least one, and at most so many of the others, at least one, drawn by a seed.

    Raises:
        ValueError: a class is too small.
    """
    if not 0 < share < 1:
        raise ValueError(f"--train-share {share}: expected more than 0, less than 1")
    train, test = [], []
    for k, name in enumerate(photos.classes):
        order = np.random.default_rng([seed, k]).permutation(np.flatnonzero(photos.labels == k))
        if len(order) < 2:
            raise ValueError(f"{photos.name}: class {name} has one photo; one is needed to train on, one to hold out")
        count = min(max(1, round(share * len(order))), len(order) - 1)
        train.append(order[:count])
        test.append(order[count:][:at_most])
    return photos[np.sort(np.concatenate(train))], photos[np.sort(np.concatenate(test))]


def limited(photos: LabelledPhotos, limit: int | None) -> LabelledPhotos:
    """The first so many of each class."""
    if limit is None:
        return photos
    rows = [np.flatnonzero(photos.labels == k)[:limit] for k in range(len(photos.classes))]
    return replace(photos[np.sort(np.concatenate(rows))], name=f"{photos.name} (--limit {limit})")


def _data(options: common.Options) -> Path:
    if options.data is None:
        raise ValueError("which photos? give --data with a folder that has a folder a class")
    return Path(options.data)


def _voc(options: common.Options) -> dict[str, LabelledPhotos]:
    from data import voc
    from data.download import download_voc

    first, second = options.train_split or "trainval", options.test_split or "test"
    if first == second:
        raise ValueError(f"--test-split {second}: these photos are trained on; name another split")
    if options.download and options.devkit:
        raise ValueError("--download fetches VOC 2007 into --data-root; leave --devkit out, or --download")
    devkit = download_voc(options.data_root, "2007") if options.download else options.devkit
    root = devkit or options.data_root / "VOCdevkit"
    train = voc.load(root, "2007", first)
    test = voc.load(root, "2007", second, classes=train.classes)
    return {name: class_folders.of_objects(part)[: options.limit] for name, part in ((first, train), (second, test))}


def _caltech(options: common.Options) -> Path:
    """Caltech-101 in the data root."""
    from data.download import download_caltech101

    if options.download:
        return download_caltech101(options.data_root)
    return Path(options.data_root) / "caltech101" / "101_ObjectCategories"
