"""Per-class linear SVMs with one pass of hard-negative mining (paper section 4.1; spp_train.m).

Positives are the ground-truth boxes; negatives are windows that overlap every object of the class by less than 0.3.
The images are visited once, in order. Windows that score above the margin are added to the negatives of the class. A
class with 2,000 new negatives is trained again, and the negatives that then score clearly below the margin are
dropped. All classes share one copy of the windows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from detection.boxes import nms
from detection.config import SVMConfig
from detection.training import svm_checkpoint
from detection.training.fingerprint import fingerprint
from detection.training.hard_windows import HardWindows
from detection.training.images import LabelledBoxes, TrainingImages, mean_norm
from detection.training.solver import Objective, Problem, margins, solve

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MiningOptions:
    """Runtime options of SVM training, the solver and the bound on negatives.

    Attributes:
        folder: folder of the checkpoint, and of the feature rows that exceed `memory`.
        memory: bytes of feature rows held in memory.
        solver: "shared" trains all classes on one copy of the rows; "liblinear" trains scikit-learn's LinearSVC
            on a copy of the rows of each class, or falls back to "shared" if the copy exceeds `memory`.
        max_negatives: maximum number of new negatives per image and class, the best-scored ones; None: no limit.
        seed: random seed of the order in which rows are visited.
        tolerance: relative duality gap at which the last training of a class stops.
        mining_tolerance: relative duality gap at which earlier trainings stop; they only serve to find negatives.
        checkpoint_seconds: time between two checkpoints.
    """

    folder: Path
    memory: int
    solver: Literal["shared", "liblinear"]
    max_negatives: int | None
    seed: int
    tolerance: float = 1e-3
    mining_tolerance: float = 1e-2
    checkpoint_seconds: float = 120.0


@dataclass(frozen=True, eq=False)
class LinearDetectors:
    """K linear classifiers of window features.

    Attributes:
        weights: float32 (K, D), one row per class, for features multiplied by `feature_scale`.
        bias: float32 (K,); minus infinity for a class without positives.
        feature_scale: factor that makes the mean L2 norm of the training features 20.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    feature_scale: float

    @property
    def n_classes(self) -> int:
        """Number of classes K."""
        return len(self.weights)

    def scores(self, features: NDArray[np.float32] | torch.Tensor) -> NDArray[np.float32]:
        """Return the margins: float32 (N, K).

        Args:
            features: float32 (N, D), unscaled, an array or a tensor on any device.
        """
        if isinstance(features, torch.Tensor):
            weights = torch.from_numpy(self._scaled_weights).to(features.device)
            return (features @ weights).cpu().numpy() + self.bias
        return features @ self._scaled_weights + self.bias

    @cached_property
    def _scaled_weights(self) -> NDArray[np.float32]:
        """Weights of unscaled features: float32 (D, K)."""
        return self.weights.T * np.float32(self.feature_scale)


def train(
    images: TrainingImages,
    config: SVMConfig,
    options: MiningOptions,
    on_image: Callable[[int], None] = lambda done: None,
) -> LinearDetectors:
    """Mine hard negatives over all images once and train every class.

    Args:
        images: training images with their windows and features.
        config: published constants.
        options: solver, memory, checkpoints.
        on_image: called with the number of finished images, for a progress bar.

    Returns:
        the SVMs of all classes. An interrupted training resumes from its last checkpoint in `options.folder` and
        gives the same result; delete the checkpoint (`svm_checkpoint.remove`) once the result is saved.

    Raises:
        ValueError: no image has an object that can be a positive.
    """
    miner = _Miner.resume(images, config, options)
    saved = time.monotonic()
    on_image(miner.next_image)
    for index in range(miner.next_image, len(images)):
        miner.visit(index)
        last = index == len(images) - 1
        miner.retrain(miner.due(last), options.tolerance if last else options.mining_tolerance)
        miner.next_image = index + 1
        on_image(miner.next_image)
        if time.monotonic() - saved > options.checkpoint_seconds:
            miner.save()
            saved = time.monotonic()
    return miner.finish()


class _Miner:
    """The windows that are held and the SVMs trained on them."""

    def __init__(
        self,
        images: TrainingImages,
        config: SVMConfig,
        options: MiningOptions,
        feature_scale: float,
        dim: int,
    ) -> None:
        self.images, self.config, self.options = images, config, options
        self.problem = Problem(config.cost, config.positive_weight, config.bias_feature, feature_scale)
        self.windows = HardWindows(dim, images.n_classes, options.memory, options.folder)
        self.trainable = np.zeros(images.n_classes, np.bool_)
        self.new = np.zeros(images.n_classes, np.int64)  # negatives since the class was last trained
        self.trainings = 0
        self.next_image = 0
        self.key = ""

    @classmethod
    def resume(cls, images: TrainingImages, config: SVMConfig, options: MiningOptions) -> _Miner:
        """Resume from the checkpoint of the same training, or start with the positives of all images."""
        key = fingerprint(
            images,
            config,
            (options.solver, options.max_negatives, options.tolerance, options.mining_tolerance, options.seed),
        )
        found = svm_checkpoint.load(options.folder, key)
        if found is None:
            scale = config.feature_norm / mean_norm(images)
            miner = cls(images, config, options, scale, images.feature_length)
            miner.add_positives()
        else:
            miner = cls(images, config, options, found.feature_scale, found.state.weights.shape[1])
            miner.next_image, miner.trainings, miner.new = found.next_image, found.trainings, found.new
            miner.windows.restore(found.image, found.box, found.state)
            for i in np.unique(found.image[found.image >= 0]):
                slots = np.flatnonzero(found.image == i)
                miner.windows.refill(slots, images.pool(int(i), images.labelled_boxes(int(i)).boxes[found.box[slots]]))
            log.info("resuming at image %d of %d", found.next_image, len(images))
        miner.key = key
        miner.trainable = np.asarray((miner.windows.state.labels > 0).any(axis=0))
        if not miner.trainable.any():
            raise ValueError(
                "training images: no object can be a positive; label some objects, or use the difficult ones too"
            )
        return miner

    def add_positives(self) -> None:
        """Add every object as a positive of its class."""
        for index in range(len(self.images)):
            labelled = self.images.labelled_boxes(index)
            used = np.flatnonzero(~labelled.difficult | self.config.difficult)
            if len(used):
                labels = np.zeros((len(used), self.images.n_classes), np.int8)
                labels[np.arange(len(used)), labelled.labels[used]] = 1
                self.windows.add(index, used, self.images.pool(index, labelled.boxes[used]), labels)

    def visit(self, index: int) -> None:
        """Add the hard negatives of one image."""
        labelled = self.images.labelled_boxes(index)
        if not len(labelled.boxes):
            return
        placed = self.images.place(index, labelled.boxes)
        group = placed.group
        scores = placed.scores(self.detectors().scores) if self.trainings else None  # (R, K)
        labels = np.zeros((group.max() + 1, self.images.n_classes), np.int8)
        for k in np.flatnonzero(self.trainable).tolist():
            hard = self.hard_negatives(labelled, group, k, None if scores is None else scores[:, k])
            labels[group[hard], k] = -1
        held = np.flatnonzero(labels.any(axis=1))
        first_box = np.unique(group, return_index=True)[1]
        self.windows.add(index, first_box[held], placed.rows(held), labels[held])
        self.new += (labels < 0).sum(axis=0)

    def hard_negatives(
        self, labelled: LabelledBoxes, group: NDArray[np.int64], k: int, scores: NDArray[np.float32] | None
    ) -> NDArray[np.int64]:
        """Return the rows of an image's windows that become negatives of class k, best first.

        Args:
            labelled: R windows of the image.
            group: int64 (R,), the position of each window; windows on the same cells are one negative.
            k: the class.
            scores: float32 (R,) of class k; None before the first training: all eligible windows are taken.
        """
        eligible = np.flatnonzero(labelled.overlaps[:, k] < self.config.negative_iou)
        # The first window on the same cells is enough; after eligibility, or a positive could represent them.
        eligible = eligible[np.sort(np.unique(group[eligible], return_index=True)[1])]
        if scores is None:
            priority = -np.arange(len(eligible), dtype=np.float32)  # proposals come best first
        else:
            eligible = eligible[scores[eligible] > self.config.hard_threshold]
            priority = scores[eligible]
        if self.config.thinning_iou is not None:
            kept = nms(labelled.boxes[eligible], priority, self.config.thinning_iou)
        else:
            kept = np.argsort(-priority, kind="stable")
        return eligible[kept[: self.options.max_negatives]]

    def due(self, last: bool) -> NDArray[np.int64]:
        """Return the classes to train now.

        Those with enough new negatives; before the first training, those with any; after the last image, all.
        """
        enough = self.config.retrain_after if self.trainings else 0
        return np.flatnonzero(self.trainable & (last | (self.new > enough)))

    def retrain(self, classes: NDArray[np.int64], tolerance: float) -> None:
        """Train the given classes to a relative duality gap and drop their easy negatives."""
        if not len(classes):
            return
        objectives = self.fit(classes, tolerance)
        state = self.windows.state
        scores = margins(self.windows.rows, state, classes, self.problem)
        pairs = np.zeros(state.labels.shape, np.bool_)
        pairs[:, classes] = scores < self.config.evict_threshold
        held = (state.labels < 0).sum(axis=0)
        evicted = self.windows.evict(pairs)
        self.new[classes] = 0
        self.trainings += 1
        for k, o in objectives.items():
            log.debug(
                "class %d: %d negatives, objective %.5g = positives %.5g + negatives %.5g + regularizer %.5g",
                k, held[k], o.total, o.positives, o.negatives, o.regularizer,
            )  # fmt: skip
        log.debug("%d windows held, %d (window, class) pairs evicted", len(self.windows), evicted)

    def fit(self, classes: NDArray[np.int64], tolerance: float) -> dict[int, Objective]:
        """Train the given classes with the solver of the options; return the objective of each."""
        w, p, o = self.windows, self.problem, self.options
        if o.solver == "liblinear":
            from detection.training.liblinear import fit_liblinear  # scikit-learn takes a second to import

            return fit_liblinear(w.rows, w.state, classes, p, memory=o.memory, tolerance=tolerance)
        return solve(w.rows, w.state, classes, p, tolerance=tolerance, seed=o.seed + self.trainings)

    def detectors(self) -> LinearDetectors:
        """Return the current SVMs."""
        state = self.windows.state
        bias = np.where(self.trainable, state.bias_weights * self.problem.bias_feature, -np.inf)
        return LinearDetectors(state.weights, bias.astype(np.float32), self.problem.feature_scale)

    def save(self) -> None:
        """Write a checkpoint of windows and SVMs; features are pooled again on resuming."""
        svm_checkpoint.save(
            self.options.folder,
            svm_checkpoint.Checkpoint(
                self.key,
                self.windows.image,
                self.windows.box,
                self.windows.state,
                self.problem.feature_scale,
                self.new,
                self.trainings,
                self.next_image,
            ),
        )

    def finish(self) -> LinearDetectors:
        """Release the feature rows and return the SVMs; the checkpoint stays until the caller has saved them."""
        result = self.detectors()
        self.windows.rows.close()
        return result
