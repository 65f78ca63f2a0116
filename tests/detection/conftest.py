"""Two stand-ins: a network with random weights and a model on it, and a training set made of numbers."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.records import ImageRecord
from detection import model, network
from detection.bbox_regression import BoxRegressor
from detection.config import PAPER, PoolingConfig
from detection.linear_detectors import LinearDetectors
from detection.training.images import TrainingImages, label_boxes

DIM = 40
SCALES = (200, 260)


@pytest.fixture(scope="session")
def body():
    """AlexNet's convolutions with random weights."""
    return network.build("alexnet", weights=None)


@pytest.fixture(scope="session")
def photo():
    return np.random.default_rng(0).integers(0, 256, (150, 220, 3), np.uint8)


def windows(n, seed=0):
    """Random boxes inside `photo`."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 120, (n, 2))
    return np.hstack([corner, corner + rng.integers(5, 60, (n, 2))]).clip(0, [219, 149, 219, 149]).astype(np.float32)


def trained(body, regressors=True):
    """A model of three classes with random weights; the third class has no box regressor."""
    rng = np.random.default_rng(1)
    dim, classes = body.channels * 50, 3
    svms = LinearDetectors(
        (rng.standard_normal((classes, dim)) / 400).astype(np.float32), np.zeros(classes, np.float32), 0.7
    )
    fitted = tuple(
        BoxRegressor((rng.standard_normal((dim + 1, 4)) / 5000).astype(np.float32), rng.standard_normal(4) / 50)
        for _ in range(2)
    )
    return model.Model(
        ("a", "b", "c"), PAPER.with_scales(SCALES), "alexnet", body.weights_hash, svms,
        (*fitted, None) if regressors else (), 0.3, {"data": "none"},
    )  # fmt: skip


@dataclass
class Placed:
    """Stands for `PlacedWindows`."""

    pooled: Any
    fc: Any = None

    @property
    def group(self):
        return np.arange(len(self.pooled))

    def with_fc(self, fc):
        return Placed(self.pooled, fc)

    def rows(self, positions):
        return self.fc(self.pooled[positions]) if self.fc else self.pooled[positions]

    def scores_of(self, scorers, gate):
        first, *others = [scorer(fc(self.pooled) if fc else self.pooled) for fc, scorer in scorers]
        passed = (first >= gate).any(axis=1, keepdims=True)
        return np.concatenate([first, *(np.where(passed, o, -np.inf) for o in others)], axis=1, dtype=np.float32)


@dataclass
class Cache:
    """Stands for `FeatureCache`."""

    manifest: dict[str, str]
    photos: Path = Path("photos.json of no folder")


class SyntheticImages(TrainingImages):
    """`TrainingImages` whose features are drawn from a window's overlap with each class, without any image.

    Attributes:
        reads: how often the features of each image were asked for.
    """

    pooled_length = DIM

    def __init__(self, *args):
        super().__init__(*args)
        self.reads = Counter()
        self.drawn_from = None  # all windows of images that have only some of them

    def subset(self, places, proposals=None):
        records = [self.records[i] for i in places]
        kept = {r.id: self.proposals[r.id] for r in records} if proposals is None else proposals
        images = SyntheticImages(records, kept, self.cache, self.pooling, self.n_classes, self.fc, self.mirrored)
        images.drawn_from = self.drawn_from if proposals is None else self.proposals
        return images

    @property
    def feature_length(self):
        return self.fc.head.fc7.out_features if self.fc else DIM

    def pool(self, index, boxes, scale_index=None):
        return self.place(index, boxes).rows(slice(None))

    def place(self, index, boxes, scale_index=None):
        self.reads[index] += 1
        record = self.records[index]
        labelled = label_boxes(record, (self.drawn_from or self.proposals)[record.id], self.n_classes)
        rows = [int(np.flatnonzero((labelled.boxes == box).all(axis=1))[0]) for box in boxes]
        name = record.id  # wherever it stands in a list, an image has the same features
        noise = (
            np.random.default_rng([7, int(name) if name.isdigit() else index]).random((len(labelled.boxes), DIM)) / 2
        )
        signal = np.zeros((len(labelled.boxes), DIM))
        signal[:, : self.n_classes] = 2 * labelled.overlaps
        return Placed((signal + noise)[np.array(rows, int)].astype(np.float16).astype(np.float32), self.fc)


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
    cache = Cache({"network": "synthetic"})
    return SyntheticImages(records, proposals, cache, PoolingConfig(), classes)


@pytest.fixture
def images():
    return make_images()
