"""Mining of a few images by a worker, with the SVMs of the moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.config import SVMConfig
from detection.networks.fc_head import FcFeatures
from detection.training.images import TrainingImages
from detection.training.mining import Miner, MiningOptions, visit_together
from detection.training.solver import SharedState


@dataclass(frozen=True, eq=False)
class Windows:
    """n windows of some images.

    Attributes:
        image: int64 (n,), the image of each window, counted from the first one of the shard.
        box: int64 (n,), the window's row among the labelled boxes of its image.
        labels: int8 (n, K), as in `SharedState`.
    """

    image: NDArray[np.int64]
    box: NDArray[np.int64]
    labels: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Shard:
    """Consecutive training images.

    Attributes:
        number: place of the shard in its round, from 0.
        images: the images, without layers.
        held: their windows that each training holds as negatives.
    """

    number: int
    images: TrainingImages
    held: Sequence[Windows]


@dataclass(frozen=True, eq=False)
class Found:
    """What one training finds in a shard.

    Attributes:
        labels: int8 (n, K), those of the windows that were held, with the classes for which they are hard now.
        new: m further windows.
        features: float16 (m, D), unscaled.
    """

    labels: NDArray[np.int8]
    new: Windows
    features: NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Learned:
    """What a worker knows of one training.

    Attributes:
        options: bound on negatives.
        fc: layers of the features; None: the features are pool5.
        feature_scale: factor on the features.
        weights: float32 (K, D), for scaled features.
        bias_weights: float64 (K,), weights of the bias feature.
        trainable: bool (K,), classes with positives.
        scored: bool (K,), classes whose weights rank windows.
    """

    options: MiningOptions
    fc: FcFeatures | None
    feature_scale: float
    weights: NDArray[np.float32]
    bias_weights: NDArray[np.float64]
    trainable: NDArray[np.bool_]
    scored: NDArray[np.bool_]

    @classmethod
    def of(cls, miner: Miner) -> Learned:
        """Return what a miner knows now."""
        state, m = miner.windows.state, miner
        scale = m.problem.feature_scale
        return cls(m.options, m.images.fc, scale, state.weights, state.bias_weights, m.trainable, m.scored)

    def miner(self, images: TrainingImages, config: SVMConfig, held: Windows) -> Miner:
        """Return a miner of some images that knows which of their windows are held, without their features."""
        dim = self.weights.shape[1]
        miner = Miner(images.with_fc(self.fc), config, self.options, self.feature_scale, dim)
        miner.trainable, miner.scored = self.trainable, self.scored
        n = len(held.image)
        state = SharedState(
            held.labels.copy(), np.zeros_like(held.labels, np.float32), np.zeros(n), self.weights, self.bias_weights
        )
        miner.windows.restore(held.image.copy(), held.box.copy(), state)  # what came through Ray cannot be written to
        return miner


@dataclass(frozen=True, eq=False)
class ShardMiner:
    """What mines shards, in this process or as one of many workers; see `Make`."""

    config: SVMConfig
    learned: Sequence[Learned]

    def __call__(self) -> Callable[[Shard], list[Found]]:
        """Return the function of a shard, which gives what each training finds."""
        return self._mine

    def _mine(self, shard: Shard) -> list[Found]:
        pairs = zip(self.learned, shard.held, strict=True)
        miners = [learned.miner(shard.images, self.config, held) for learned, held in pairs]
        for index in range(len(shard.images)):
            visit_together(miners, index)
        return [_found(m, len(held.image)) for m, held in zip(miners, shard.held, strict=True)]


def _found(miner: Miner, known: int) -> Found:
    """What a miner has found beyond the windows in its first slots, which were held before."""
    w = miner.windows
    new = known + np.flatnonzero(w.image[known:] >= 0)
    features = w.rows.read(new).astype(np.float16)
    found = Found(w.state.labels[:known], Windows(w.image[new], w.box[new], w.state.labels[new]), features)
    w.rows.close()
    return found
