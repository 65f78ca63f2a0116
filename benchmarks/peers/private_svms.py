"""SVM training as in the authors' program: each class holds a copy of its windows and is trained from the beginning.

The mining rule, its constants and the features are those of this project (detection/training/mining.py). Only the
storage and the training differ: one float32 array of negatives per class, and a new scikit-learn LinearSVC on all of
them at every retraining, as spp_train.m calls liblinear.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import LinearSVC

from detection.linear_detectors import LinearDetectors
from detection.training.mining import Miner

Floats = NDArray[np.float32]


class PrivateMiner(Miner):
    """`Miner` with a separate copy of the windows for each class."""

    def add_all_positives(self) -> None:
        """Add every object as a positive of its class."""
        found: list[list[Floats]] = [[] for _ in range(self.images.n_classes)]
        for index in range(len(self.images)):
            labelled = self.images.labelled_boxes(index)
            used = np.flatnonzero(~labelled.difficult | self.config.difficult)
            for label, row in zip(labelled.labels[used], self.images.pool(index, labelled.boxes[used]), strict=True):
                found[label].append(row[None])
        empty = np.zeros((0, self.windows.rows.dim), np.float32)
        self.positives = [np.concatenate([empty, *rows]) for rows in found]
        self.negatives = [empty for _ in found]
        self.weights = np.zeros((len(found), self.windows.rows.dim), np.float32)
        self.biases = np.full(len(found), -np.inf, np.float32)
        self.trainable = np.array([len(rows) > 0 for rows in self.positives])

    def visit(self, index: int) -> None:
        """Add the hard negatives of one image, class by class."""
        labelled = self.images.labelled_boxes(index)
        if not len(labelled.boxes):
            return
        placed = self.images.place(index, labelled.boxes)
        rows, group = placed.rows(slice(None)), placed.group
        scores = self.detectors().scores(rows)[group] if self.trainings else None  # (R, K)
        for k in np.flatnonzero(self.trainable).tolist():
            hard = self.hard_negatives(labelled, group, k, None if scores is None else scores[:, k])
            self.negatives[k] = np.concatenate([self.negatives[k], rows[group[hard]]])
            self.new[k] += len(hard)

    def retrain(self, classes: NDArray[np.int64], tolerance: float) -> None:
        """Train the given classes and drop their easy negatives."""
        p, scale = self.problem, np.float32(self.problem.feature_scale)
        for k in classes.tolist():
            features = np.concatenate([self.positives[k], self.negatives[k]]) * scale
            labels = np.r_[np.ones(len(self.positives[k])), -np.ones(len(self.negatives[k]))]
            machine = LinearSVC(
                C=p.cost, loss="hinge", dual=True, class_weight={1: p.positive_weight},
                intercept_scaling=p.bias_feature, max_iter=10_000, random_state=0,
            ).fit(features, labels)  # fmt: skip
            self.weights[k], self.biases[k] = machine.coef_[0], machine.intercept_[0]
            easy = machine.decision_function(features[len(self.positives[k]) :]) < self.config.evict_threshold
            self.negatives[k] = self.negatives[k][~easy]
            self.new[k] = 0
        self.trainings += len(classes) > 0

    def detectors(self) -> LinearDetectors:
        """Return the current SVMs."""
        return LinearDetectors(self.weights, self.biases, self.problem.feature_scale)
