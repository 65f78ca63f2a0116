"""Matching of detections with ground-truth objects, as in the VOC devkit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from data.records import ImageRecord
    from detection.detection_table import DetectionTable

Ints = NDArray[np.int64]
FALSE_POSITIVE, TRUE_POSITIVE, IGNORED = 0, 1, -1


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Objects of M images as flat columns.

    Attributes:
        first: int64 (M + 1,); the objects of image i are rows first[i] to first[i + 1] - 1.
        boxes: float64 (G, 4), xyxy, 0-based inclusive image pixels.
        labels: int64 (G,).
        difficult: bool (G,).
    """

    first: Ints
    boxes: NDArray[np.float64]
    labels: Ints
    difficult: NDArray[np.bool_]

    @classmethod
    def of(cls, records: Sequence[ImageRecord]) -> GroundTruth:
        """Collect the objects of M records, in order."""
        first = np.cumsum([0, *(len(r.labels) for r in records)])
        return cls(
            first,
            np.concatenate([np.zeros((0, 4)), *(r.boxes.astype(np.float64) for r in records)]),
            np.concatenate([np.zeros(0, np.int64), *(r.labels for r in records)]),
            np.concatenate([np.zeros(0, np.bool_), *(r.difficult for r in records)]),
        )


def class_names(records: Sequence[ImageRecord], classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the K class names: `classes` if given, else those of the data set, else its labels as text."""
    names = classes if classes is not None else getattr(records, "classes", None)
    if names is None:
        names = [str(k) for k in range(1 + max((int(r.labels.max()) for r in records if len(r.labels)), default=-1))]
    return tuple(names)


def image_index(table: DetectionTable, records: Sequence[ImageRecord]) -> Ints:
    """Find the record of each detection.

    Returns:
        int64 (N,), indices into `records`.

    Raises:
        ValueError: two records have the same id, or an image of the detections has no record.
    """
    place = {record.id: i for i, record in enumerate(records)}
    if len(place) != len(records):
        raise ValueError(f"records: {len(records)} records have only {len(place)} different ids; pass each image once")
    unknown = [image_id for image_id in table.ids if image_id not in place]
    if unknown:
        raise ValueError(
            f"detections: {len(unknown)} images are not in the ground truth, the first is {unknown[0]!r}; "
            "use detections and records of the same split"
        )
    of_id = np.array([place[image_id] for image_id in table.ids], np.int64)
    return of_id[table.image]


def check_labels(table: DetectionTable, truth: GroundTruth, n_classes: int) -> None:
    """Raise ValueError if a label is not in 0..K-1."""
    for what, labels in (("detections", table.rows.labels), ("ground truth", truth.labels)):
        wrong = labels[(labels < 0) | (labels >= n_classes)]
        if len(wrong):
            raise ValueError(
                f"{what}: label {wrong[0]} is outside 0..{n_classes - 1}; "
                "labels are class indices without a background, pass `classes` if there are more"
            )


@numba.njit(cache=True, nogil=True)
def match(
    order: Ints,
    boxes: NDArray[Any],
    labels: Ints,
    image: Ints,
    truth: tuple[Ints, NDArray[np.float64], Ints, NDArray[np.bool_]],
    iou_threshold: float,
) -> NDArray[np.int8]:
    """Classify detections as true positives, false positives or ignored.

    Detections are matched in the given order. Each is compared with the object of its image and class with which it
    has the largest IoU, difficult objects included. If that IoU is at least the threshold, the detection is ignored
    if the object is difficult, a true positive if the object was not matched before, and a false positive otherwise.
    Other objects are not tried.

    Args:
        order: int64 (N,), row indices in matching order: within each class, descending scores.
        boxes: float (N, 4), xyxy, 0-based inclusive image pixels.
        labels: int64 (N,).
        image: int64 (N,), the image index of each detection.
        truth: columns first, boxes, labels and difficult of a `GroundTruth`.
        iou_threshold: the smallest IoU of a true positive.

    Returns:
        int8 (N,) in the order of `boxes`: TRUE_POSITIVE, FALSE_POSITIVE or IGNORED.

    Source: VOCdevkit/VOCcode/VOCevaldet.m.
    """
    first, gt_boxes, gt_labels, difficult = truth
    verdict = np.zeros(len(order), np.int8)
    found = np.zeros(len(gt_labels), np.bool_)
    for d in order:
        x1, y1 = np.float64(boxes[d, 0]), np.float64(boxes[d, 1])
        x2, y2 = np.float64(boxes[d, 2]), np.float64(boxes[d, 3])
        area = (x2 - x1 + 1) * (y2 - y1 + 1)
        best, best_overlap = -1, -np.inf
        for g in range(first[image[d]], first[image[d] + 1]):
            if gt_labels[g] != labels[d]:
                continue
            w = min(x2, gt_boxes[g, 2]) - max(x1, gt_boxes[g, 0]) + 1
            h = min(y2, gt_boxes[g, 3]) - max(y1, gt_boxes[g, 1]) + 1
            if w <= 0 or h <= 0:
                continue
            gt_area = (gt_boxes[g, 2] - gt_boxes[g, 0] + 1) * (gt_boxes[g, 3] - gt_boxes[g, 1] + 1)
            overlap = w * h / (area + gt_area - w * h)
            if overlap > best_overlap:
                best, best_overlap = g, overlap
        if best < 0 or best_overlap < iou_threshold:
            continue
        if difficult[best]:
            verdict[d] = IGNORED
        elif not found[best]:
            verdict[d] = TRUE_POSITIVE
            found[best] = True
    return verdict
