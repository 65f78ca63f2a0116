"""Metrics of classifiers: top-1 and top-5 accuracy, mean accuracy per class, average precision per class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detection.evaluation.voc import Metric, average_precision, precision_recall


def top_accuracy(scores: NDArray[np.float32], labels: NDArray[np.int64], count: int = 1) -> float:
    """Return the fraction of photos whose class is among the `count` highest scores.

    Equal scores rank in class order.

    Args:
        scores: float32 (N, K).
        labels: int64 (N,), the true class of each photo.
        count: k of the top-k accuracy.

    Returns:
        Fraction in [0, 1].
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return float((best == labels[:, None]).any(axis=1).mean())


def mean_class_accuracy(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the accuracy averaged over the classes, the metric of Caltech-101.

    Args:
        scores: float32 (N, K).
        labels: int64 (N,), the true class of each photo; classes without a photo are left out of the mean.

    Returns:
        Fraction in [0, 1].
    """
    right = scores.argmax(axis=1) == labels
    return float(np.mean([right[labels == k].mean() for k in np.unique(labels)]))


def class_ap(scores: NDArray[np.float32], truth: NDArray[np.int8], metric: Metric = "voc07") -> NDArray[np.float64]:
    """Compute the average precision of each class over the photos that count for it.

    Args:
        scores: float32 (N, K).
        truth: int8 (N, K): 1 where the class is in the photo, -1 where it is not, 0 where the photo does not count.
        metric: "voc07", the mean precision at 11 recall levels, or "area", the area under the curve.

    Returns:
        float64 (K,), NaN for a class that is in no photo.

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
