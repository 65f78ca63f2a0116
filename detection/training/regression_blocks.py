"""Box regressors trained by many workers: each takes a class, or a part of the windows of a large one.

A class with fewer windows than one block is trained as a whole by a worker. Of a larger one, workers return blocks of
the system of equations, which are summed in the order of the images and solved here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from detection import bbox_regression
from detection.bbox_regression import BoxRegressor, TrainingWindows
from detection.config import BoxRegressionConfig
from detection.engines.engine import Engine, WorkerLost
from detection.engines.in_order import in_order
from detection.networks.fc_head import FcFeatures
from detection.training.images import TrainingImages
from detection.training.regressor_checkpoint import RegressorParts
from detection.training.ridge import RidgeSystem

BLOCK_ROWS = 16384
"""Windows of a block, at least; pooling and adding them takes a core minutes, moving their Gram matrix seconds."""

Divided: TypeAlias = Mapping[int, Sequence[NDArray[np.int64]]]
"""Class -> the images of each of its blocks, (n,)."""


@dataclass(frozen=True, eq=False)
class Block:
    """Windows of one class that a worker learns from.

    Attributes:
        label: the class.
        number: place among the blocks of all classes of several blocks, from 0; None: the class has one block.
        images: images with such windows; their proposals are these windows only.
        windows: the windows of each image.
    """

    label: int
    number: int | None
    images: TrainingImages
    windows: Sequence[TrainingWindows]


@dataclass(frozen=True, eq=False)
class BlockWork:
    """What works on blocks, in this process or as one of many workers; see `Make`.

    Attributes:
        fc: layers of the features; None: the features are pool5.
        ridge: weight of the squared norm of the coefficients.
        feature_scale: factor on the features.
    """

    fc: FcFeatures | None
    ridge: float
    feature_scale: float

    def __call__(self) -> Callable[[Block], BoxRegressor | RidgeSystem]:
        """Return the function of a block, which gives the regressor of a whole class, else the block's system."""
        return self._work

    def _work(self, block: Block) -> BoxRegressor | RidgeSystem:
        images = block.images.with_fc(self.fc)
        systems = bbox_regression.build_systems(images, block.windows, [block.label], self.ridge, self.feature_scale)
        system = systems[block.label]
        return bbox_regression.solve(system) if block.number is None else system


def fit_all_with(
    engine: Engine,
    images: TrainingImages,
    config: BoxRegressionConfig,
    feature_scale: float,
    parts: RegressorParts,
    *,
    difficult: bool = True,
    on_class: Callable[[int], None] = lambda k: None,
) -> list[BoxRegressor | None]:
    """Train the regressors of all classes with an engine.

    They do not depend on the engine, and equal those of `bbox_regression.fit_all`; of classes of several blocks, to
    rounding. A worker holds the system of one block, up to (D + 1)^2 numbers in single precision.

    Args:
        engine: what does the work.
        images: as of `bbox_regression.fit_all`.
        config: the smallest overlap and the ridge.
        feature_scale: factor on the features.
        parts: files of finished regressors, from which an interrupted training resumes.
        difficult: use the windows of difficult objects too.
        on_class: called with each class once its regressor is finished, for a progress bar.

    Returns:
        K regressors; None for a class without windows.

    Raises:
        WorkerLost: a block ended its workers.
    """
    windows = bbox_regression.all_training_windows(images, config, difficult)
    counts = bbox_regression.count_windows(windows, images.n_classes)
    found = [parts.get(k) for k in range(images.n_classes)]

    def finish(k: int, regressor: BoxRegressor) -> None:
        found[k] = regressor
        parts.put(k, regressor)
        on_class(k)

    for k in range(images.n_classes):
        if found[k] is not None or not counts[k]:
            on_class(k)
    missing = [k for k in np.argsort(-counts, kind="stable").tolist() if counts[k] and found[k] is None]
    length = max(BLOCK_ROWS, 2 * (images.feature_length + 1)) // len(images.views)
    divided = {k: _divided(windows, k, length) for k in missing}  # class -> images of each block
    work = BlockWork(images.fc, config.ridge, feature_scale)
    with closing(engine.map(work, _blocks(images, windows, divided))) as results:
        for k, system in _summed(divided, _systems(results, finish), parts.folder):
            finish(k, bbox_regression.solve(system))
    return found


def _divided(windows: Sequence[TrainingWindows], k: int, length: int) -> list[NDArray[np.int64]]:
    """Divide the images with windows of a class into consecutive parts of about equally many windows.

    Args:
        windows: those of every image.
        k: the class.
        length: windows of a part at most, but for the last image of each.
    """
    counts = np.array([(w.labels == k).sum() for w in windows])
    total = int(counts.sum())
    parts = -(-total // length)
    place = (np.cumsum(counts) - 1) * parts // total  # part of each image's last window
    return [there for p in range(parts) if len(there := np.flatnonzero((place == p) & (counts > 0)))]


def _blocks(
    images: TrainingImages, windows: Sequence[TrainingWindows], divided: Divided
) -> Generator[Block, None, None]:
    numbers = itertools.count()
    for k, parts in divided.items():
        for places in parts:
            there, own = _with_class(images, windows, k, places)
            yield Block(k, None if len(parts) == 1 else next(numbers), there, own)


def _with_class(
    images: TrainingImages, windows: Sequence[TrainingWindows], k: int, places: NDArray[np.int64]
) -> tuple[TrainingImages, list[TrainingWindows]]:
    """Return some images with the windows of class k as their only proposals, and these windows."""
    own, proposals = [], {}
    for i in places.tolist():
        w, record = windows[i], images.records[i]
        mine, objects = w.labels == k, len(record.labels)
        rows = w.rows[mine]
        proposed = rows >= objects
        proposals[record.id] = images.proposals[record.id][rows[proposed] - objects]
        rows = np.where(proposed, objects + np.cumsum(proposed) - 1, rows)
        own.append(TrainingWindows(rows, w.objects[mine], w.labels[mine]))
    return images.subset(places.tolist(), proposals).with_fc(None), own


def _systems(
    results: Iterable[tuple[Block, Future[BoxRegressor | RidgeSystem]]], finish: Callable[[int, BoxRegressor], None]
) -> Generator[tuple[int, RidgeSystem], None, None]:
    """Yield the numbers and systems of blocks; classes of one block are finished by the way."""
    for block, outcome in results:
        try:
            made = outcome.result()
        except WorkerLost as error:
            raise WorkerLost(f"box regression, class {block.label}: {error}; use fewer workers (-j)") from error
        if block.number is None:
            assert isinstance(made, BoxRegressor)
            finish(block.label, made)
        else:
            assert isinstance(made, RidgeSystem)
            yield block.number, made


def _summed(
    divided: Divided, systems: Iterable[tuple[int, RidgeSystem]], folder: Path
) -> Generator[tuple[int, RidgeSystem], None, None]:
    """Yield the classes of several blocks with the sums of their systems, added in the order of the images."""
    ordered = in_order(systems, folder)
    for k, parts in divided.items():
        if len(parts) > 1:
            total = next(ordered)
            for system in itertools.islice(ordered, len(parts) - 1):
                total.merge(system)
            yield k, total
    assert next(ordered, None) is None  # classes of one block may still be at work
