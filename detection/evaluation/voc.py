"""Average precision as defined by the Pascal VOC devkit."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection.detection_table import DetectionTable
from detection.evaluation.matching import (
    IGNORED,
    TRUE_POSITIVE,
    GroundTruth,
    check_labels,
    class_names,
    image_index,
    match,
)

if TYPE_CHECKING:
    from data.records import ImageRecord
    from detection.detections import Detections

Floats = NDArray[np.float64]
Metric = Literal["voc07", "area"]
METRICS: tuple[Metric, ...] = ("voc07", "area")


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Average precision and precision-recall curves of K classes.

    Curves have one entry per detection of the class that is not ignored, best first.

    Attributes:
        classes: class names in label order.
        ap: float64 (K,) in [0, 1]; nan for a class without objects.
        precision: one float64 array per class.
        recall: one float64 array per class; nan for a class without objects.
        scores: one array of detection scores per class.
        n_objects: int64 (K,), numbers of objects that are not difficult.
        metric: "voc07" or "area".
        iou_threshold: the smallest IoU of a true positive.
    """

    classes: tuple[str, ...]
    ap: Floats
    precision: tuple[Floats, ...]
    recall: tuple[Floats, ...]
    scores: tuple[NDArray[np.floating[Any]], ...]
    n_objects: NDArray[np.int64]
    metric: Metric
    iou_threshold: float

    @property
    def mean_ap(self) -> float:
        """Mean of `ap` over the classes with objects; nan if there are none."""
        known = self.ap[~np.isnan(self.ap)]
        return float(known.mean()) if len(known) else float("nan")

    @property
    def correct(self) -> tuple[NDArray[np.bool_], ...]:
        """Whether each detection is a true positive: one bool array per class, in the order of `scores`."""
        counts = (np.round(p * np.arange(1, len(p) + 1)) for p in self.precision)
        return tuple(np.diff(count, prepend=0) > 0 for count in counts)


def evaluate(
    detections: Mapping[str, Detections],
    records: Sequence[ImageRecord],
    iou_threshold: float = 0.5,
    metric: Metric = "voc07",
    classes: Sequence[str] | None = None,
) -> EvaluationResult:
    """Compute the average precision of each class.

    The detections of a class are ranked over all images by descending score; equal scores keep the order of
    `detections`. `matching.match` says which of them are true positives, false positives or ignored.

    Args:
        detections: image id -> detections, boxes in 0-based inclusive image pixels. Images may be missing.
        records: the ground truth: a `Dataset` or a sequence of records. All its images count.
        iou_threshold: the smallest IoU of a true positive, in (0, 1].
        metric: "voc07" for the mean of eleven precisions, "area" for the area under the curve (VOC 2010 and later).
        classes: the K class names in label order. None: those of the data set, or, for a plain sequence, the labels
            that occur in it.

    Raises:
        ValueError: an image is not in the ground truth, a label is out of range, or an option is invalid.

    Source: VOCdevkit/VOCcode/VOCevaldet.m; utils/xVOCap.m for the area.
    """
    _check_metric(metric)
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold: expected a number in (0, 1], got {iou_threshold}")
    names = class_names(records, classes)
    table, truth = DetectionTable.of(detections), GroundTruth.of(records)
    image = image_index(table, records)
    check_labels(table, truth, len(names))

    rows = table.rows
    order = np.lexsort((-rows.scores, rows.labels))  # class by class, best first; stable
    columns = (truth.first, truth.boxes, truth.labels, truth.difficult)
    verdict = match(order, rows.boxes, rows.labels, image, columns, float(iou_threshold))
    counted = order[verdict[order] != IGNORED]
    right = verdict[counted] == TRUE_POSITIVE
    n_objects = np.bincount(truth.labels[~truth.difficult], minlength=len(names))

    edges = np.searchsorted(rows.labels[counted], np.arange(len(names) + 1))
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    curves = [precision_recall(right[part], int(n)) for part, n in zip(parts, n_objects, strict=True)]
    ap = [average_precision(r, p, metric) if n else np.nan for (p, r), n in zip(curves, n_objects, strict=True)]
    precision, recall = tuple(p for p, _ in curves), tuple(r for _, r in curves)
    scores = tuple(rows.scores[counted[part]] for part in parts)
    return EvaluationResult(
        names, np.array(ap, np.float64), precision, recall, scores, n_objects, metric, float(iou_threshold)
    )


def precision_recall(right: ArrayLike, n_objects: int) -> tuple[Floats, Floats]:
    """Compute the precision-recall curve of one class.

    Args:
        right: bool (N,), whether each detection is a true positive, best first; without ignored detections.
        n_objects: the number of objects that are not difficult.

    Returns:
        precision, recall: float64 (N,) after each detection; recall is nan if there are no objects.
    """
    tp = np.cumsum(np.asarray(right, np.bool_), dtype=np.float64)
    precision = tp / np.arange(1, len(tp) + 1)
    recall = tp / n_objects if n_objects else np.full(len(tp), np.nan)
    return precision, recall


def average_precision(recall: ArrayLike, precision: ArrayLike, metric: Metric = "voc07") -> float:
    """Compute the average precision of one precision-recall curve.

    "voc07" is the mean over t = 0, 0.1, ..., 1 of the highest precision at recall >= t, or 0 if the recall is never
    reached. The thresholds are the doubles nearest to k/10, so that a recall of exactly 6/10 reaches 0.6. "area" is
    the area under the curve after each precision is raised to the highest precision at the same or a higher recall.

    Args:
        recall: (N,), not decreasing.
        precision: (N,).
        metric: "voc07" or "area".

    Returns:
        A value in [0, 1]: 0 without detections, nan if a recall is nan.

    Raises:
        ValueError: the metric is unknown, or the shapes differ.

    Source: VOCdevkit/VOCcode/VOCevaldet.m, utils/xVOCap.m.
    """
    _check_metric(metric)
    recall, precision = np.asarray(recall, np.float64), np.asarray(precision, np.float64)
    if recall.ndim != 1 or recall.shape != precision.shape:
        raise ValueError(
            f"expected recall and precision of the same shape (N,), got {recall.shape} and {precision.shape}"
        )
    if np.isnan(recall).any():
        return float("nan")
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)  # (N + 1,), 0 beyond the last recall
    if metric == "voc07":
        thresholds = np.arange(11) / 10  # not arange(0, 1.1, 0.1): its 0.6 is 0.6000000000000001
        return float(envelope[np.searchsorted(recall, thresholds)].mean())
    steps = np.diff(recall, prepend=0.0)
    return float((steps * envelope[:-1]).sum())


def _check_metric(metric: str) -> None:
    if metric not in METRICS:
        raise ValueError(f"metric: expected one of {', '.join(METRICS)}, got {metric!r}")
