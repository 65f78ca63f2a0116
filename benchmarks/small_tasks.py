"""Make small tasks of a large data set: nested training sets of a few photos, and one test set.

    python benchmarks/small_tasks.py --data datasets/VOCdevkit/VOC2007 --classes car dog person --sizes 20 30 100 300 \
        --folder tasks/voc

writes tasks/voc/20, ..., in COCO's format, with the splits train and test. Training photos are the first ones of a
random order of those that show an object of the classes; test photos are those of the test split that show one.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import harness  # noqa: F401  # makes the packages of the project importable
import numpy as np

from data import datasets, writers
from data.records import Dataset


def write_tasks(options: argparse.Namespace) -> None:
    """Write the tasks that are not there yet."""
    split = options.train_split or datasets.usual_split(options.data, "train")
    train = datasets.load(options.data, split, classes=options.classes)
    test = datasets.load(options.data, options.test_split, classes=train.classes)
    test = _some(_with_objects(test), options.test_photos, seed=0)
    train = _with_objects(train)
    for size in options.sizes:
        chosen = _some(train, size, options.seed)
        folder = options.folder / str(size)
        if not folder.exists():
            writers.write(folder, {"train": chosen, "test": test}, "coco")
        print(f"{folder}: {len(chosen)} photos for training, {len(test)} for the test")


def _with_objects(dataset: Dataset) -> Dataset:
    return replace(dataset, records=tuple(record for record in dataset if len(record.boxes)))


def _some(dataset: Dataset, count: int | None, seed: int) -> Dataset:
    """The first photos of a random order, in the order of the data set; all if no count is given."""
    rows = np.random.default_rng(seed).permutation(len(dataset))[:count]
    return replace(dataset, records=tuple(dataset.records[row] for row in sorted(rows.tolist())))


def main() -> None:
    """Write the tasks."""
    flags = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    flags.add_argument("--data", type=Path, required=True, help="labelled photos in any format")
    flags.add_argument("--train-split", help="split to take training photos from (default: trainval, or train)")
    flags.add_argument("--test-split", default="test", help="(%(default)s)")
    flags.add_argument("--classes", nargs="+", metavar="NAME", help="classes of the task (default: all)")
    flags.add_argument("--sizes", type=int, nargs="+", default=[20, 30, 100, 300], metavar="N", help="(%(default)s)")
    flags.add_argument("--test-photos", type=int, metavar="N", help="test on so many of them (default: all)")
    flags.add_argument("--seed", type=int, default=0, help="of the random order of training photos (%(default)s)")
    flags.add_argument("--folder", type=Path, required=True, help="folder to write the tasks into")
    write_tasks(flags.parse_args())


if __name__ == "__main__":
    main()
