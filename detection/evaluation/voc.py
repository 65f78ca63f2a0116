"""Average precision by the rules of the Pascal VOC devkit."""

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
    """Average precision and curves of K classes.

    Attributes:
        classes: names, in label order.
        ap: float64 (K,) in [0, 1]; nan for a class without an object to find.
        precision: one float64 array a class: after each of its detections that counts, best first.
        recall: likewise; nan throughout for a class without an object to find.
        scores: the scores of those detections.
        n_objects: int64 (K,), objects to find: those that are not difficult.
        metric: "voc07" or "area".
        iou_threshold: least overlap of a right detection.
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
        """Mean over the classes that have an object to find; nan if none has."""
        known = self.ap[~np.isnan(self.ap)]
        return float(known.mean()) if len(known) else float("nan")


def evaluate(
    detections: Mapping[str, Detections],
    records: Sequence[ImageRecord],
    iou_threshold: float = 0.5,
    metric: Metric = "voc07",
    classes: Sequence[str] | None = None,
) -> EvaluationResult:
    """Score detections.

    Detections of a class are taken over all images by falling score, of equal scores in the order of
    `detections`. Each is compared with the object of its class and image that it overlaps most: at
    IoU >= threshold it is right, or wrong if that object was found before, or left out of the count if the
    object is difficult; otherwise it is wrong.

    Args:
        detections: image id -> boxes (0-based inclusive image pixels), scores, labels. Images may be missing.
        records: the ground truth, a `Dataset` or any sequence of records. All its images count.
        iou_threshold: in (0, 1].
        metric: "voc07" the mean of eleven precisions, "area" the area under the curve (VOC 2010 and later).
        classes: names of the K classes, in label order; None: those of the data set, or for a plain
            sequence the labels that occur in it.

    Raises:
        ValueError: an image is not in the ground truth, a label is out of range, or an option is unknown.

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
    """The curve of one class.

    Args:
        right: bool (N,), whether each detection that counts is right, best first.
        n_objects: objects to find.

    Returns:
        precision, recall: float64 (N,) after each detection; recall is nan where there is nothing to find.
    """
    tp = np.cumsum(np.asarray(right, np.bool_), dtype=np.float64)
    precision = tp / np.arange(1, len(tp) + 1)
    recall = tp / n_objects if n_objects else np.full(len(tp), np.nan)
    return precision, recall


def average_precision(recall: ArrayLike, precision: ArrayLike, metric: Metric = "voc07") -> float:
    """Average precision of one class.

    "voc07" is the mean, over t = 0, 0.1, ..., 1, of the best precision at recall >= t, 0 where it is never
    reached; the t are the doubles nearest to k/10, so that a recall of exactly 6 in 10 reaches 0.6. "area" is
    the area under the curve with each precision raised to the best at that or higher recall.

    Args:
        recall: (N,), not falling.
        precision: (N,).
        metric: "voc07" or "area".

    Returns:
        In [0, 1]; 0 without detections; nan where recall is.

    Source: VOCdevkit/VOCcode/VOCevaldet.m, utils/xVOCap.m.
    """
    _check_metric(metric)
    recall, precision = np.asarray(recall, np.float64), np.asarray(precision, np.float64)
    if recall.ndim != 1 or recall.shape != precision.shape:
        raise ValueError(f"expected recall and precision (N,) of one length, got {recall.shape} and {precision.shape}")
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
