"""A training set made of numbers: two classes whose windows differ along known directions."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data.records import ImageRecord
from detection.config import PoolingConfig
from detection.training.images import TrainingImages

DIM = 40


class SyntheticImages(TrainingImages):
    """`TrainingImages` whose features are drawn from a window's overlap with each class, without any image."""

    def pool(self, index, boxes, scale_index=None):
        labelled = self.labelled_boxes(index)
        rows = [int(np.flatnonzero((labelled.boxes == box).all(axis=1))[0]) for box in boxes]
        noise = np.random.default_rng([7, index]).random((len(labelled.boxes), DIM)) / 2
        signal = np.zeros((len(labelled.boxes), DIM))
        signal[:, : self.n_classes] = 2 * labelled.overlaps
        return (signal + noise)[np.array(rows, int)].astype(np.float16).astype(np.float32)

    def place(self, index, boxes, scale_index=None):
        rows = self.pool(index, boxes)
        return SimpleNamespace(
            group=np.arange(len(boxes)), rows=lambda places: rows[places], scores=lambda scorer: scorer(rows)
        )


def make_images(n=12, classes=2, seed=0, windows=150):
    rng = np.random.default_rng(seed)

    def boxes(count):
        corner = rng.integers(0, 150, (count, 2))
        return np.hstack([corner, corner + rng.integers(25, 90, (count, 2))]).astype(np.float32)

    records, proposals = [], {}
    for i in range(n):
        objects = boxes(rng.integers(0 if i == 3 else 1, 4))
        name = f"{i:03d}"
        labels = rng.integers(0, classes, len(objects))
        difficult = rng.random(len(objects)) < 0.1
        records.append(ImageRecord(name, Path(name), (240, 240), objects, labels, difficult))
        near = np.repeat(objects, 8, axis=0) + rng.integers(-15, 16, (8 * len(objects), 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 5)
        everything = np.concatenate([boxes(windows), near]).astype(np.float32)
        # a window is found again by its box, so boxes must differ
        proposals[name] = np.unique(everything, axis=0)
    cache = SimpleNamespace(manifest={"network": "synthetic"})
    return SyntheticImages(records, proposals, cache, PoolingConfig(), classes)


@pytest.fixture
def images():
    return make_images()
