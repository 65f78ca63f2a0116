"""What kinds of error a detector makes, and what each costs.

Every detection is right, left out (it finds a difficult object), or wrong in one of five ways, asked in this order:

* duplicate: it finds an object of its class, which one of a better score has found before;
* localisation: it overlaps an object of its class, too little to find it (IoU of `BACKGROUND_IOU` or more);
* similar class: not so, but it overlaps one of another class, and of those it overlaps most is similar to its own;
* other class: likewise, and that class is not similar;
* background: it overlaps nothing.

An object is missed that no detection of its class finds, and that is the object of no localisation error.

The cost of a kind is the average precision that a class would gain without it. As in TIDE, each kind is mended alone:
a localisation error moves onto its object, which of several the best does, and goes if the object was found anyway;
missed objects are not counted; all other errors go. Costs do not add up, since one error can hide another; with all
mended the average precision is 1. Two things differ from TIDE: confusion begins at the IoU of background, as in
Hoiem's analysis, and a confused detection goes instead of changing its class, since margins of different classes do
not compare.

Sources: Hoiem, Chodpathumwan, Dai, "Diagnosing Error in Object Detectors", 2012 (kinds, groups of similar classes);
Bolya, Foley, Hays, Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", 2020 (duplicates and
missed objects, cost).
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

FOREGROUND_IOU = 0.5  # at which an object is found, VOC's
BACKGROUND_IOU = 0.1  # below which nothing is overlapped, Hoiem's and TIDE's


class Kind(IntEnum):
    """What a detection is; MISSED is for objects."""

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
"""Of VOC's twenty classes, by Hoiem's paper, section 3.1; those in none are similar to no other."""


@dataclass(frozen=True, eq=False)
class Errors:
    """N detections and G objects, judged.

    Attributes:
        classes: names, in label order.
        rows: the detections, in the order of the table they came in.
        image: int64 (N,), the record of each.
        kind: int8 (N,), a `Kind` each.
        object: int64 (N,), the object that decided its kind, counted over all records; -1 for background.
        overlap: float64 (N,), IoU with that object; of background the greatest with any, below `BACKGROUND_IOU`.
        truth: the objects.
        found: bool (G,), those that a right detection finds.
        missed: bool (G,), see above; difficult objects never are.
        groups: whether similar classes were told.
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
        """int64 (K,), objects to find."""
        return np.bincount(self.truth.labels[~self.truth.difficult], minlength=len(self.classes)).astype(np.int64)

    def ranked(self, label: int) -> Ints:
        """The detections of a class that count, best first; of equal scores in the order of the table."""
        rows = np.flatnonzero((self.rows.labels == label) & (self.kind != Kind.LEFT_OUT))
        return rows[np.argsort(-self.rows.scores[rows], kind="stable")]


def analyse(
    detections: Mapping[str, Detections],
    records: Sequence[ImageRecord],
    classes: Sequence[str] | None = None,
    similar: Sequence[Sequence[str]] | None = None,
) -> Errors:
    """Judge detections by VOC's matching at `FOREGROUND_IOU`, and say of the wrong ones how they are wrong.

    Args:
        detections: image id -> boxes (0-based inclusive image pixels), scores, labels. Images may be missing.
        records: the ground truth; all its images count.
        classes: names of the K classes, in label order; None: those of the data set, see `voc.evaluate`.
        similar: groups of classes that are like each other; None: `SIMILAR_CLASSES` where two of a group occur.
            Without any, confusion is always with another class.

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
    kind, of, overlap = _judge(rows, image, truth, verdict, alike)
    found, near = np.zeros(len(truth.labels), np.bool_), np.zeros(len(truth.labels), np.bool_)
    found[of[kind == Kind.RIGHT]] = True
    near[of[kind == Kind.LOCALISATION]] = True
    missed = ~found & ~near & ~truth.difficult
    return Errors(names, rows, image, kind, of, overlap, truth, found, missed, bool(alike.any()))


def similarity(classes: Sequence[str], groups: Sequence[Sequence[str]]) -> Bools:
    """bool (K, K): whether two different classes are in one group."""
    member = np.array([[name in group for name in classes] for group in groups], np.bool_)
    member = member.reshape(len(groups), len(classes)).astype(np.int64)
    return (member.T @ member > 0) & ~np.eye(len(classes), dtype=np.bool_)


def _judge(
    rows: Detections, image: Ints, truth: GroundTruth, verdict: NDArray[np.int8], alike: Bools
) -> tuple[NDArray[np.int8], Ints, Floats]:
    """Kind, object and overlap of each detection: (N,) each."""
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
    """The detections and the objects of each image that has both."""
    order = np.argsort(image, kind="stable")
    edges = np.searchsorted(image[order], np.arange(len(truth.first)))
    for i in range(len(truth.first) - 1):
        objects = np.arange(truth.first[i], truth.first[i + 1])
        if edges[i + 1] > edges[i] and len(objects):
            yield order[edges[i] : edges[i + 1]], objects


def _best(overlaps: Floats) -> tuple[Ints, Floats]:
    """Column of the greatest of each row, of equal ones the first, and its value: (n, g) -> (n,), (n,)."""
    return overlaps.argmax(axis=1).astype(np.int64), overlaps.max(axis=1)


def costs(errors: Errors, metric: Metric = "voc07") -> dict[Kind, Floats]:
    """Average precision that each kind of error costs.

    Args:
        errors: of `analyse`.
        metric: "voc07" or "area", see `voc.average_precision`.

    Returns:
        kind -> float64 (K,), at least 0, at most 1 minus the average precision; nan for a class without an object.
    """
    result = {kind: np.full(len(errors.classes), np.nan) for kind in COSTLY}
    for label, n in enumerate(errors.n_objects.tolist()):
        if n:
            now = _ap_without(errors, label, (), metric)
            for kind in COSTLY:
                result[kind][label] = _ap_without(errors, label, (kind,), metric) - now
    return result


def _ap_without(errors: Errors, label: int, kinds: Sequence[Kind], metric: Metric) -> float:
    """Of one class that has objects, without some kinds of error."""
    rows = errors.ranked(label)
    kind = errors.kind[rows].copy()
    if Kind.LOCALISATION in kinds:
        moved = _moved(errors.object[rows], kind, errors.found | errors.truth.difficult)
        kind[moved] = Kind.RIGHT
    left = kind[~np.isin(kind, [int(k) for k in kinds])]
    n = int(errors.n_objects[label])
    if Kind.MISSED in kinds:
        n -= int(errors.missed[errors.truth.labels == label].sum())
    if n == 0:
        return float(len(left) == 0)  # nothing is left to find, and nothing wrong is found
    precision, recall = precision_recall(left == Kind.RIGHT, n)
    return average_precision(recall, precision, metric)


def _moved(objects: Ints, kind: NDArray[np.int8], taken: Bools) -> Ints:
    """Which localisation errors find their object once they are moved: the best of each that is not taken."""
    near = np.flatnonzero(kind == Kind.LOCALISATION)
    _, first = np.unique(objects[near], return_index=True)  # of the detections, best first
    best = near[np.sort(first)]
    return best[~taken[objects[best]]]
