"""The windows that SVM training holds, and the SVMs trained on them: hard-negative mining, image by image."""

from __future__ import annotations

import copy
import hashlib
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detection.boxes import nms
from detection.config import SVMConfig
from detection.features import Placed
from detection.linear_detectors import GATE, LinearDetectors
from detection.parallel import for_each_chunk
from detection.training import svm_checkpoint
from detection.training.fingerprint import fingerprint
from detection.training.hard_windows import HardWindows
from detection.training.images import LabelledBoxes, TrainingImages, mean_norm
from detection.training.solver import Objective, Problem, SharedState, Start, margins, solve

log = logging.getLogger(__name__)

WITHOUT_TOLERANCE = 0.01  # relative duality gap of SVMs without some images, which begin close to their end


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
        rounds: mine in rounds, see `mining_rounds`, instead of one image after the other.
    """

    folder: Path
    memory: int
    solver: Literal["shared", "liblinear"]
    max_negatives: int | None
    seed: int
    tolerance: float = 1e-3
    mining_tolerance: float = 0.05
    checkpoint_seconds: float = 120.0
    rounds: bool = False


class Miner:
    """The windows that are held and the SVMs trained on them.

    Args:
        images: training images with their windows and features.
        config: published constants.
        options: solver, memory, checkpoints.
        feature_scale: factor on the features.
        dim: length D of a window's features.
        start: SVMs that the training begins with and stays close to, with the same scale; None: zero.
    """

    def __init__(
        self,
        images: TrainingImages,
        config: SVMConfig,
        options: MiningOptions,
        feature_scale: float,
        dim: int,
        start: LinearDetectors | None = None,
    ) -> None:
        self.images, self.config, self.options = images, config, options
        self.problem = Problem(config.cost, config.positive_weight, config.bias_feature, feature_scale)
        self.windows = HardWindows(dim, images.n_classes, options.memory, options.folder)
        self.trainable = np.zeros(images.n_classes, np.bool_)  # classes with positives
        self.scored = np.zeros(images.n_classes, np.bool_)  # classes whose weights rank windows
        self.new = np.zeros(images.n_classes, np.int64)  # negatives since the class was last trained
        self.trainings = 0
        self.next_image = 0
        self.key = ""
        if start is not None:
            self._start_from(start)

    @classmethod
    def empty(
        cls, images: TrainingImages, config: SVMConfig, options: MiningOptions, start: LinearDetectors | None = None
    ) -> Miner:
        """Return a miner that holds no windows; features are scaled by the start, or by a sample of the images.

        Raises:
            ValueError: there is no start, and no image has a window, or all features are zero.
        """
        scale = start.feature_scale if start else config.feature_norm / mean_norm(images)
        miner = cls(images, config, options, scale, images.feature_length, start)
        miner.key = training_key(images, config, options, start)
        return miner

    @classmethod
    def restored(
        cls,
        images: TrainingImages,
        config: SVMConfig,
        options: MiningOptions,
        start: LinearDetectors | None = None,
        file: str = svm_checkpoint.FILE,
    ) -> Miner | None:
        """Return a miner as it was when it was saved; None if the file holds no checkpoint of the same training."""
        key = training_key(images, config, options, start)
        found = svm_checkpoint.load(options.folder, key, file)
        if found is None:
            return None
        miner = cls(images, config, options, found.feature_scale, found.state.weights.shape[1], start)
        miner.next_image, miner.trainings, miner.new, miner.key = found.next_image, found.trainings, found.new, key
        miner.windows.restore(found.image, found.box, found.state)
        for i in np.unique(found.image[found.image >= 0]):
            slots = np.flatnonzero(found.image == i)
            miner.windows.refill(slots, images.pool(int(i), images.labelled_boxes(int(i)).boxes[found.box[slots]]))
        miner.trainable = np.asarray((found.state.labels > 0).any(axis=0))
        miner.scored |= found.trainings > 0
        return miner

    @classmethod
    def resume(
        cls, images: TrainingImages, config: SVMConfig, options: MiningOptions, start: LinearDetectors | None = None
    ) -> Miner:
        """Resume from the checkpoint of the same training, or start with the positives of all images.

        Raises:
            ValueError: no image has an object that can be a positive.
        """
        miner = cls.restored(images, config, options, start)
        if miner is not None:
            log.info("resuming at image %d of %d", miner.next_image, len(images))
        else:
            miner = cls.empty(images, config, options, start)
            for index in range(len(images)):
                miner.add_positives(index)
        if not miner.trainable.any():
            raise ValueError(
                "training images: no object can be a positive; label some objects, or use the difficult ones too"
            )
        return miner

    def add_positives(self, index: int) -> NDArray[np.bool_]:
        """Add the objects of one image as positives of their classes; return these classes, bool (K,)."""
        labelled = self.images.labelled_boxes(index)
        used = np.flatnonzero(~labelled.difficult | self.config.difficult)
        labels = np.zeros((len(used), self.images.n_classes), np.int8)
        labels[np.arange(len(used)), labelled.labels[used]] = 1
        if len(used):
            self.windows.add(index, used, self.images.pool(index, labelled.boxes[used]), labels)
        classes = np.asarray(labels.any(axis=0))
        self.trainable |= classes
        return classes

    def visit(self, index: int) -> None:
        """Add the hard negatives of one image."""
        visit_together([self], index)

    def take(self, index: int, labelled: LabelledBoxes, placed: Placed, scores: NDArray[np.float32] | None) -> None:
        """Add the hard negatives of one image whose windows are scored; those that are held already stay.

        Args:
            index: number of the image.
            labelled: its R windows.
            placed: their positions, with this miner's features.
            scores: float32 (R, K); None before the first training.
        """
        group, slots, state = placed.group, self.windows.negatives_of(index), self.windows.state
        labels = np.zeros((group.max() + 1, self.images.n_classes), np.int8)
        known = group[self.windows.box[slots]]  # positions whose windows are held
        labels[known] = np.minimum(state.labels[slots], 0)
        before = (labels < 0).sum(axis=0)
        classes = np.flatnonzero(self.trainable).tolist()

        def work(first: int, last: int) -> None:
            for k in classes[first:last]:
                ranked = scores[:, k] if scores is not None and self.scored[k] else None
                labels[group[self.hard_negatives(labelled, group, k, ranked, labels[:, k] < 0)], k] = -1

        for_each_chunk(work, len(classes))
        self.new += (labels < 0).sum(axis=0) - before
        state.labels[slots] = np.where(labels[known] < 0, labels[known], state.labels[slots])
        labels[known] = 0
        fresh = np.flatnonzero(labels.any(axis=1))
        first_box = np.unique(group, return_index=True)[1]
        self.windows.add(index, first_box[fresh], placed.rows(fresh), labels[fresh])

    def hard_negatives(
        self,
        labelled: LabelledBoxes,
        group: NDArray[np.int64],
        k: int,
        scores: NDArray[np.float32] | None,
        held: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int64]:
        """Return the rows of an image's windows that become negatives of class k, best first.

        Args:
            labelled: R windows of the image.
            group: int64 (R,), the position of each window; windows on the same cells are one negative.
            k: the class.
            scores: float32 (R,) of class k; None before the first training: all eligible windows are taken.
            held: bool (U,), the positions whose windows are negatives already, which come before all others; None:
                there are none.
        """
        eligible = np.flatnonzero(labelled.overlaps[:, k] < self.config.negative_iou)
        # The first window on the same cells is enough; after eligibility, or a positive could represent them.
        eligible = eligible[np.sort(np.unique(group[eligible], return_index=True)[1])]
        known = np.zeros(len(eligible), np.bool_) if held is None else held[group[eligible]]
        if scores is None:
            priority = -np.arange(len(eligible), dtype=np.float32)  # proposals come best first
        else:
            hard = known | (scores[eligible] > self.config.hard_threshold)
            eligible, known = eligible[hard], known[hard]
            priority = scores[eligible]
        priority = np.where(known, np.float32(np.inf), priority)
        if self.config.thinning_iou is not None:
            kept = nms(labelled.boxes[eligible], priority, self.config.thinning_iou)
        else:
            kept = np.argsort(-priority, kind="stable")
        return eligible[kept[: self.options.max_negatives]]

    def begin(self, k: int) -> None:
        """Take the windows that other classes hold as negatives of a class that had no positives before."""
        objects = [i for i, record in enumerate(self.images.records) if k in record.labels]
        labels = self.windows.state.labels
        others = (self.windows.image >= 0) & ~np.isin(self.windows.image, objects) & (labels[:, k] == 0)
        labels[others, k] = -1
        self.new[k] = others.sum()
        self.scored[k] = self._started[k]

    def forget(self, index: int) -> NDArray[np.bool_]:
        """Remove the windows of one image; the weights lose their part.

        Returns:
            bool (K,), the classes that used one of them.
        """
        state, slots = self.windows.state, np.flatnonzero(self.windows.image == index)
        used = np.asarray(state.labels[slots].any(axis=0))
        self.windows.subtract(state, slots, self.problem)
        self.windows.release(slots)
        self.trainable = np.asarray((state.labels > 0).any(axis=0))
        for k in np.flatnonzero(used & ~self.trainable).tolist():
            self._drop(k)
        return used

    def widen(self, n_classes: int, start: LinearDetectors | None) -> None:
        """Add classes without windows up to this number.

        Args:
            n_classes: number of all classes.
            start: what all classes begin with; None: zero, as before.
        """
        before, more = len(self.trainable), n_classes - len(self.trainable)
        self.windows.widen(n_classes)
        self.trainable, self.scored = np.pad(self.trainable, (0, more)), np.pad(self.scored, (0, more))
        self.new = np.pad(self.new, (0, more))
        if start is not None:
            self._start_from(start, before)

    def _drop(self, k: int) -> None:
        """Remove the negatives of a class that has no positives any more."""
        state, start = self.windows.state, self.problem.start
        self.windows.drop_class(k)
        state.weights[k] = 0 if start is None else start.weights[k]
        state.bias_weights[k] = 0 if start is None else start.bias_weights[k]
        self.new[k] = 0

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
        self.scored[:] = True
        for k, o in objectives.items():
            log.debug(
                "class %d: %d negatives, objective %.5g = positives %.5g + negatives %.5g + regularizer %.5g",
                k, held[k], o.total, o.positives, o.negatives, o.regularizer,
            )  # fmt: skip
        log.debug("%d windows held, %d (window, class) pairs evicted", len(self.windows), evicted)

    def fit(
        self, classes: NDArray[np.int64], tolerance: float, state: SharedState | None = None
    ) -> dict[int, Objective]:
        """Train the given classes with the solver of the options; return the objective of each.

        Args:
            classes: int64 (n,).
            tolerance: relative duality gap.
            state: changed in place; None: that of the windows.
        """
        rows, p, o = self.windows.rows, self.problem, self.options
        state = state or self.windows.state
        if o.solver == "liblinear":
            from detection.training.liblinear import fit_liblinear  # scikit-learn takes a second to import

            return fit_liblinear(rows, state, classes, p, memory=o.memory, tolerance=tolerance)
        return solve(rows, state, classes, p, tolerance=tolerance, seed=o.seed + self.trainings)

    def without(self, images: Collection[int]) -> LinearDetectors:
        """Return SVMs that know nothing of some images: trained on the held windows of all others.

        The windows that are held stay those that were hard for all images together; no others are mined.

        Args:
            images: numbers of the images to leave out.
        """
        state, slots = copy.deepcopy(self.windows.state), np.flatnonzero(np.isin(self.windows.image, list(images)))
        self.windows.subtract(state, slots, self.problem)
        trainable = np.asarray((state.labels > 0).any(axis=0))
        self.fit(np.flatnonzero(trainable), max(self.options.tolerance, WITHOUT_TOLERANCE), state)
        return self._detectors_of(state, trainable)

    def detectors(self) -> LinearDetectors:
        """Return the current SVMs; further training changes their weights in place."""
        return self._detectors_of(self.windows.state, self.trainable)

    def _detectors_of(self, state: SharedState, trainable: NDArray[np.bool_]) -> LinearDetectors:
        bias = np.where(trainable | self._started, state.bias_weights * self.problem.bias_feature, -np.inf)
        return LinearDetectors(state.weights, bias.astype(np.float32), self.problem.feature_scale)

    def _start_from(self, start: LinearDetectors, first: int = 0) -> None:
        """Take the SVMs of an earlier training as weights, of the classes from `first` on."""
        known = np.isfinite(start.bias)
        weights = np.where(known[:, None], start.weights, np.float32(0))
        bias_weights = np.where(known, start.bias, 0).astype(np.float64) / self.config.bias_feature
        self.problem = replace(self.problem, start=Start(weights, bias_weights))
        state = self.windows.state
        state.weights[first:], state.bias_weights[first:] = weights[first:], bias_weights[first:]
        self.scored[first:] |= known[first:]

    @property
    def _started(self) -> NDArray[np.bool_]:
        """The classes that began with the SVMs of an earlier training: bool (K,)."""
        start = self.problem.start
        return np.zeros(len(self.trainable), np.bool_) if start is None else np.asarray(start.weights.any(axis=1))

    def save(self, file: str = svm_checkpoint.FILE) -> None:
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
            file,
        )

    def finish(self) -> LinearDetectors:
        """Note which windows are held, release their features and return the SVMs; the checkpoint stays."""
        self.save(svm_checkpoint.FINISHED)
        result = self.detectors()
        self.close()
        return result

    def close(self) -> None:
        """Release the feature rows."""
        self.windows.rows.close()


def mine(
    miners: Sequence[Miner], on_image: Callable[[int], None] = lambda done: None, until: int | None = None
) -> None:
    """Visit the images that remain, in order, and train every class after the last one.

    Args:
        miners: of the same images with the features of different layers; all have seen the same images.
        on_image: called with the number of finished images; what it raises ends the training.
        until: number of images after which to stop; None: all.
    """
    first, count, saved = miners[0].next_image, len(miners[0].images), time.monotonic()
    on_image(min(first, count))
    for index in range(first, count if until is None else min(until, count)):
        visit_together(miners, index)
        last = index == count - 1
        for m in miners:
            m.retrain(m.due(last), m.options.tolerance if last else m.options.mining_tolerance)
            m.next_image = index + 1
        on_image(index + 1)
        if time.monotonic() - saved > miners[0].options.checkpoint_seconds:
            for m in miners:
                m.save()
            saved = time.monotonic()


def visit_together(miners: Sequence[Miner], index: int) -> None:
    """Add the hard negatives of one image, whose windows are pooled once for all miners.

    The first miner's SVMs rank all windows, those of the others the windows that the first ones rank above `GATE`:
    what these are sure of is not hard for all together.
    """
    images = miners[0].images
    labelled = images.labelled_boxes(index)
    if not len(labelled.boxes):
        return
    placed = images.place(index, labelled.boxes)
    ranking = [m for m in miners if m.scored.any()]
    found: dict[Miner, NDArray[np.float32]] = {}
    if ranking:
        scores = placed.scores_of([(m.images.fc, m.detectors().scores) for m in ranking], float(GATE))
        found = dict(zip(ranking, np.split(scores, len(ranking), axis=1), strict=True))
    for m in miners:
        m.take(index, labelled, placed.with_fc(m.images.fc), found.get(m))


def training_key(
    images: TrainingImages, config: SVMConfig, options: MiningOptions, start: LinearDetectors | None
) -> str:
    """Return the fingerprint of everything that decides the result of a training; arguments as of `Miner.resume`."""
    values: tuple[object, ...] = (
        options.solver,
        options.max_negatives,
        options.tolerance,
        options.mining_tolerance,
        options.seed,
    )
    if options.rounds:
        values += ("rounds",)
    if start is not None:
        digest = hashlib.sha256(start.weights.tobytes() + start.bias.tobytes()).hexdigest()
        values += (digest, start.feature_scale)
    return fingerprint(images, config, values)
