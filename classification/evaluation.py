"""How good a classifier is: errors of the best and the best five, accuracy a class, average precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detection.evaluation.voc import Metric, average_precision, precision_recall


def top_accuracy(scores: NDArray[np.float32], labels: NDArray[np.int64], count: int = 1) -> float:
    """Share of photos whose class is among the `count` highest scores: (N, K), int64 (N,) -> [0, 1].

    Of equal scores the class that comes first counts as higher.
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return float((best == labels[:, None]).any(axis=1).mean())


def mean_class_accuracy(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean over the classes of the share of their photos that are classified right; Caltech-101's figure."""
    right = scores.argmax(axis=1) == labels
    return float(np.mean([right[labels == k].mean() for k in np.unique(labels)]))


def class_ap(scores: NDArray[np.float32], truth: NDArray[np.int8], metric: Metric = "voc07") -> NDArray[np.float64]:
    """Average precision of each class over the photos that count for it.

    Args:
        scores: float32 (N, K).
        truth: int8 (N, K): 1 in, -1 out, 0 left out.
        metric: "voc07", the mean over 11 recalls, or "area".

    Returns:
        float64 (K,), nan for a class that is in no photo.

    Source: VOCdevkit/VOCcode/VOCevalcls.m.
    """
    found = []
    for score, column in zip(scores.T, truth.T, strict=True):
        used = np.flatnonzero(column)
        order = used[np.argsort(-score[used], kind="stable")]
        right = column[order] == 1
        precision, recall = precision_recall(right, int(right.sum()))
        found.append(average_precision(recall, precision, metric) if right.any() else np.nan)
    return np.array(found)
