"""Error analysis: which kinds of error a detector makes, and what each kind costs.

Every detection is right, left out (it matches a difficult object), or wrong in one of five ways, tested in this order:

* duplicate: it matches an object of its class that a better-scored detection has matched before;
* localisation: it overlaps an object of its class with an IoU of `BACKGROUND_IOU` or more, too little to match it;
* similar class: otherwise, it overlaps an object of another class, and the one with the largest IoU is similar;
* other class: the same, with a class that is not similar;
* background: it overlaps no object.

An object is missed if no detection of its class matches it and it is not the object of a localisation error.

The cost of a kind is the average precision that a class would gain without it. As in TIDE, each kind is corrected
alone: the best localisation error on each object moves onto it, or is removed if the object is matched anyway; missed
objects are not counted; all other errors are removed. Costs do not add up, because one error can hide another. With all
kinds corrected, the average precision is 1. There are two differences from TIDE: class confusion starts at
`BACKGROUND_IOU`, as in Hoiem's analysis, and a confused detection is removed instead of changing its class, because
the margins of different classes are not comparable.

Sources: Hoiem, Chodpathumwan, Dai, "Diagnosing Error in Object Detectors", 2012 (kinds, groups of similar classes);
Bolya, Foley, Hays, Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", 2020 (duplicates,
missed objects, costs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detection.boxes import iou
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
from detection.evaluation.voc import Metric, average_precision, precision_recall

if TYPE_CHECKING:
    from data.records import ImageRecord
    from detection.detections import Detections

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FOREGROUND_IOU = 0.5  # the smallest IoU of a match, as in VOC
BACKGROUND_IOU = 0.1  # a smaller IoU counts as no overlap, as in Hoiem's analysis and TIDE


class Kind(IntEnum):
    """Kinds of detections; MISSED is a kind of object."""

    RIGHT = 0
    LEFT_OUT = 1
    LOCALISATION = 2
    SIMILAR = 3
    OTHER = 4
    BACKGROUND = 5
    DUPLICATE = 6
    MISSED = 7


WRONG = (Kind.LOCALISATION, Kind.SIMILAR, Kind.OTHER, Kind.BACKGROUND, Kind.DUPLICATE)
COSTLY = (*WRONG, Kind.MISSED)

SIMILAR_CLASSES = (
    ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"),
    ("bird", "cat", "cow", "dog", "horse", "person", "sheep"),
    ("chair", "diningtable", "sofa"),
    ("aeroplane", "bird"),
)
"""Groups of VOC's twenty classes. Classes in no group are similar to no other. Source: Hoiem et al., section 3.1."""


@dataclass(frozen=True, eq=False)
class Errors:
    """Kinds of N detections and G objects.

    Attributes:
        classes: class names in label order.
        rows: the N detections, in table order.
        image: int64 (N,), the record index of each detection.
        kind: int8 (N,), the `Kind` of each detection.
        object: int64 (N,), the index of the object that decided the kind, over all records; -1 for background.
        overlap: float64 (N,), IoU with that object; for background the largest IoU with any object.
        truth: the G objects.
        found: bool (G,), whether a right detection matches the object.
        missed: bool (G,), whether the object is missed; always false for difficult objects.
        groups: whether any two classes are similar.
    """

    classes: tuple[str, ...]
    rows: Detections
    image: Ints
    kind: NDArray[np.int8]
    object: Ints
    overlap: Floats
    truth: GroundTruth
    found: Bools
    missed: Bools
    groups: bool

    @property
    def n_objects(self) -> Ints:
        """int64 (K,), the number of objects of each class that are not difficult."""
        return np.bincount(self.truth.labels[~self.truth.difficult], minlength=len(self.classes)).astype(np.int64)

    def ranked(self, label: int) -> Ints:
        """Return the rows of a class that are not left out, best first; equal scores keep the table order."""
        rows = np.flatnonzero((self.rows.labels == label) & (self.kind != Kind.LEFT_OUT))
        return rows[np.argsort(-self.rows.scores[rows], kind="stable")]


def analyse(
    detections: Mapping[str, Detections],
    records: Sequence[ImageRecord],
    classes: Sequence[str] | None = None,
    similar: Sequence[Sequence[str]] | None = None,
) -> Errors:
    """Match detections as VOC does at `FOREGROUND_IOU`, and find the kind of each detection.

    Args:
        detections: image id -> detections, boxes in 0-based inclusive image pixels. Images may be missing.
        records: the ground truth. All its images count.
        classes: the K class names in label order. None: those of the data set, see `voc.evaluate`.
        similar: groups of similar class names. None: `SIMILAR_CLASSES`. If no two classes are similar, all class
            confusion is `Kind.OTHER`.

    Raises:
        ValueError: an image is not in the ground truth, or a label is out of range.
    """
    names = class_names(records, classes)
    table, truth = DetectionTable.of(detections), GroundTruth.of(records)
    image = image_index(table, records)
    check_labels(table, truth, len(names))
    alike = similarity(names, SIMILAR_CLASSES if similar is None else similar)
    rows = table.rows
    order = np.lexsort((-rows.scores, rows.labels))  # class by class, best first; stable
    columns = (truth.first, truth.boxes, truth.labels, truth.difficult)
    verdict = match(order, rows.boxes, rows.labels, image, columns, FOREGROUND_IOU)
    kind, of, overlap = _kinds_of(rows, image, truth, verdict, alike)
    found, near = np.zeros(len(truth.labels), np.bool_), np.zeros(len(truth.labels), np.bool_)
    found[of[kind == Kind.RIGHT]] = True
    near[of[kind == Kind.LOCALISATION]] = True
    missed = ~found & ~near & ~truth.difficult
    return Errors(names, rows, image, kind, of, overlap, truth, found, missed, bool(alike.any()))


def similarity(classes: Sequence[str], groups: Sequence[Sequence[str]]) -> Bools:
    """Find the pairs of different classes that share a group: bool (K, K)."""
    member = np.array([[name in group for name in classes] for group in groups], np.bool_)
    member = member.reshape(len(groups), len(classes)).astype(np.int64)
    return (member.T @ member > 0) & ~np.eye(len(classes), dtype=np.bool_)


def _kinds_of(
    rows: Detections, image: Ints, truth: GroundTruth, verdict: NDArray[np.int8], alike: Bools
) -> tuple[NDArray[np.int8], Ints, Floats]:
    """Find the kind, object and overlap of each detection: three arrays (N,)."""
    kind = np.full(len(rows), Kind.BACKGROUND, np.int8)
    of, overlap = np.full(len(rows), -1, np.int64), np.zeros(len(rows))
    for mine, objects in _by_image(image, truth):
        labels, known = rows.labels[mine], truth.labels[objects]
        overlaps = iou(rows.boxes[mine], truth.boxes[objects])  # (n, g)
        same = labels[:, None] == known
        own, other = (np.where(which, overlaps, -1.0) for which in (same, ~same))
        (best_own, iou_own), (best_other, iou_other) = _best(own), _best(other)
        confused = np.where(alike[labels, known[best_other]], Kind.SIMILAR, Kind.OTHER)
        near, mistaken = iou_own >= BACKGROUND_IOU, iou_other >= BACKGROUND_IOU
        kind[mine] = np.select([near, mistaken], [np.full(len(mine), Kind.LOCALISATION), confused], Kind.BACKGROUND)
        kind[mine[iou_own >= FOREGROUND_IOU]] = Kind.DUPLICATE
        of[mine] = np.select([near, mistaken], [objects[best_own], objects[best_other]], -1)
        overlap[mine] = np.where(near, iou_own, np.maximum(np.maximum(iou_own, iou_other), 0))
    kind[verdict == TRUE_POSITIVE] = Kind.RIGHT
    kind[verdict == IGNORED] = Kind.LEFT_OUT
    return kind, of, overlap


def _by_image(image: Ints, truth: GroundTruth) -> Iterator[tuple[Ints, Ints]]:
    """Yield the detection rows and the object indices of each image that has both."""
    order = np.argsort(image, kind="stable")
    edges = np.searchsorted(image[order], np.arange(len(truth.first)))
    for i in range(len(truth.first) - 1):
        objects = np.arange(truth.first[i], truth.first[i + 1])
        if edges[i + 1] > edges[i] and len(objects):
            yield order[edges[i] : edges[i + 1]], objects


def _best(overlaps: Floats) -> tuple[Ints, Floats]:
    """Find the first column with the maximum of each row, and the maximum: (n, g) -> (n,), (n,)."""
    return overlaps.argmax(axis=1).astype(np.int64), overlaps.max(axis=1)


def costs(errors: Errors, metric: Metric = "voc07") -> dict[Kind, Floats]:
    """Compute the average precision that each kind of error costs.

    Args:
        errors: the result of `analyse`.
        metric: "voc07" or "area", see `voc.average_precision`.

    Returns:
        kind -> float64 (K,), from 0 to 1 minus the average precision; nan for a class without objects.
    """
    result = {kind: np.full(len(errors.classes), np.nan) for kind in COSTLY}
    for label, n in enumerate(errors.n_objects.tolist()):
        if n:
            now = _ap_without(errors, label, (), metric)
            for kind in COSTLY:
                result[kind][label] = _ap_without(errors, label, (kind,), metric) - now
    return result


def _ap_without(errors: Errors, label: int, kinds: Sequence[Kind], metric: Metric) -> float:
    """Compute the average precision of a class with objects after correcting some kinds of error."""
    rows = errors.ranked(label)
    kind = errors.kind[rows].copy()
    if Kind.LOCALISATION in kinds:
        moved = _best_per_object(errors.object[rows], kind, errors.found | errors.truth.difficult)
        kind[moved] = Kind.RIGHT
    left = kind[~np.isin(kind, [int(k) for k in kinds])]
    n = int(errors.n_objects[label])
    if Kind.MISSED in kinds:
        n -= int(errors.missed[errors.truth.labels == label].sum())
    if n == 0:
        return float(len(left) == 0)  # without objects, 1 if there are no wrong detections either
    precision, recall = precision_recall(left == Kind.RIGHT, n)
    return average_precision(recall, precision, metric)


def _best_per_object(objects: Ints, kind: NDArray[np.int8], taken: Bools) -> Ints:
    """Return the rows of the best localisation error on each object that is not taken."""
    near = np.flatnonzero(kind == Kind.LOCALISATION)
    _, first = np.unique(objects[near], return_index=True)  # of the detections, best first
    best = near[np.sort(first)]
    return best[~taken[objects[best]]]
