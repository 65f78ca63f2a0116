"""Recall of proposals: how well all boxes of an image, or the first ones, cover the annotated objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection.boxes import as_boxes, iou

if TYPE_CHECKING:
    from data.records import ImageRecord

Floats = NDArray[np.float64]

THRESHOLDS = (0.5, 0.7)
CURVE = tuple(i / 100 for i in range(50, 101))
"""IoU thresholds of a curve, computed from whole hundredths so that they equal literals such as 0.7."""
COUNTS = (1, 3, 10, 30, 100, 300, 1000, 2000, 3000, 5000, 10000, 20000)  # boxes per image along a curve
LEAST_IOU = 0.5  # lower limit of average recall


@dataclass(frozen=True, eq=False)
class RecallResult:
    """Recall of the G objects that are not difficult; values over no objects are NaN.

    Attributes:
        overlaps: float64 (G,), best overlap of each object: its largest IoU with a proposal.
        labels: int64 (G,), class of each object.
        classes: number of classes K in the data set.
        boxes_per_image: mean number of proposals per image that were used.
        images: number of images.
    """

    overlaps: Floats
    labels: NDArray[np.int64]
    classes: int
    boxes_per_image: float
    images: int

    @property
    def recall(self) -> dict[float, float]:
        """IoU threshold -> fraction of the objects with a proposal at that IoU or above."""
        return {t: _mean(self.overlaps >= t) for t in THRESHOLDS}

    @property
    def average_recall(self) -> float:
        """Average recall between IoU 0.5 and 1; see `average_recall`."""
        return average_recall(self.overlaps)

    @property
    def mean_best_overlap(self) -> float:
        """Mean best overlap over all objects (ABO over all classes)."""
        return _mean(self.overlaps)

    @property
    def objects(self) -> NDArray[np.int64]:
        """int64 (K,), number of objects of each class."""
        return np.bincount(self.labels, minlength=self.classes).astype(np.int64)

    @property
    def class_recall(self) -> dict[float, Floats]:
        """IoU threshold -> float64 (K,), recall of each class."""
        return {t: np.array([_mean(o >= t) for o in self._of_class()]) for t in THRESHOLDS}

    @property
    def class_average_recall(self) -> Floats:
        """float64 (K,), average recall of each class."""
        return np.array([average_recall(o) for o in self._of_class()])

    @property
    def class_best_overlap(self) -> Floats:
        """float64 (K,), average best overlap of each class (IJCV 2013's ABO)."""
        return np.array([_mean(o) for o in self._of_class()])

    @property
    def class_mean_recall(self) -> dict[float, float]:
        """IoU threshold -> mean recall of the classes that have objects."""
        return {threshold: _mean(values[self.objects > 0]) for threshold, values in self.class_recall.items()}

    @property
    def class_mean_best_overlap(self) -> float:
        """Mean over the classes that have objects of `class_best_overlap` (IJCV 2013's MABO)."""
        return _mean(self.class_best_overlap[self.objects > 0])

    def curve(self, thresholds: ArrayLike = CURVE) -> Floats:
        """Return the recall at each IoU threshold: (T,) -> float64 (T,)."""
        levels = np.asarray(thresholds, np.float64).reshape(-1)
        return np.array([_mean(self.overlaps >= t) for t in levels])

    def to_dict(self, classes: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the measures as plain values for JSON, with None for NaN.

        Args:
            classes: names of the K classes, in label order; None: no measures per class.

        Raises:
            ValueError: the number of names is not K.
        """
        result: dict[str, Any] = {
            "images": self.images,
            "objects": len(self.overlaps),
            "boxes_per_image": _plain(self.boxes_per_image),
            "recall": {str(t): _plain(v) for t, v in self.recall.items()},
            "average_recall": _plain(self.average_recall),
            "mean_best_overlap": _plain(self.mean_best_overlap),
            "class_mean_recall": {str(t): _plain(v) for t, v in self.class_mean_recall.items()},
            "class_mean_best_overlap": _plain(self.class_mean_best_overlap),
            "curve": {"iou": list(CURVE), "recall": [_plain(v) for v in self.curve()]},
        }
        if classes is not None:
            result["classes"] = self._class_dicts(classes)
        return result

    def _class_dicts(self, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
        if len(classes) != self.classes:
            raise ValueError(f"classes: expected {self.classes} names, got {len(classes)}")
        objects, overlap, average = self.objects, self.class_best_overlap, self.class_average_recall
        recall = self.class_recall
        return {
            name: {
                "objects": int(objects[k]),
                "recall": {str(t): _plain(v[k]) for t, v in recall.items()},
                "average_recall": _plain(average[k]),
                "best_overlap": _plain(overlap[k]),
            }
            for k, name in enumerate(classes)
        }

    def _of_class(self) -> list[Floats]:
        """Return the best overlaps of the objects of each class."""
        return [self.overlaps[self.labels == k] for k in range(self.classes)]


def evaluate(
    proposals: Mapping[str, ArrayLike], dataset: Sequence[ImageRecord], max_boxes: int | None = None
) -> RecallResult:
    """Measure proposals against annotations.

    Args:
        proposals: image id -> boxes (R, 4), best first, xyxy, 0-based inclusive image pixels. Images outside the data
            set are ignored.
        dataset: the annotated images; difficult objects are ignored.
        max_boxes: use only the first `max_boxes` boxes of each image; None: all.

    Raises:
        ValueError: an image of the data set has no entry in `proposals`, or `max_boxes` is negative.
    """
    return evaluate_counts(proposals, dataset, [max_boxes])[0]


def evaluate_counts(
    proposals: Mapping[str, ArrayLike], dataset: Sequence[ImageRecord], counts: Iterable[int | None]
) -> list[RecallResult]:
    """Measure the first boxes of each image for several numbers of boxes; overlaps are computed once.

    Args:
        proposals: as for `evaluate`.
        dataset: as for `evaluate`.
        counts: numbers of boxes per image, None for all. Images with fewer boxes use all of them.

    Returns:
        one result per count, in the order of `counts`.

    Raises:
        ValueError: an image of the data set has no entry in `proposals`, or a count is negative.
    """
    counts = list(counts)
    _check_counts(counts)
    _check_present(proposals, dataset)
    overlaps, labels, used = [np.empty((len(counts), 0))], [np.empty(0, np.int64)], []
    for record in dataset:
        boxes, easy = as_boxes(proposals[record.id]), ~record.difficult
        ends = [len(boxes[:n]) for n in counts]
        overlaps.append(_best_of_first(iou(boxes, record.boxes[easy]), ends))
        labels.append(record.labels[easy])
        used.append(ends)
    classes, all_labels = _class_count(dataset), np.concatenate(labels)
    rows = np.concatenate(overlaps, axis=1)  # (counts, G)
    return [
        RecallResult(row, all_labels, classes, _mean(np.array([ends[i] for ends in used])), len(used))
        for i, row in enumerate(rows)
    ]


def box_counts(
    proposals: Mapping[str, ArrayLike], dataset: Sequence[ImageRecord], max_boxes: int | None = None
) -> list[int]:
    """Return the numbers of boxes for a curve: the `COUNTS` below the most boxes of any image, and that number.

    Args:
        proposals: as for `evaluate`.
        dataset: as for `evaluate`.
        max_boxes: upper limit of the numbers; None: no limit.

    Raises:
        ValueError: an image of the data set has no entry in `proposals`, or `max_boxes` is negative.
    """
    _check_counts([max_boxes])
    _check_present(proposals, dataset)
    most = max((len(as_boxes(proposals[record.id])[:max_boxes]) for record in dataset), default=0)
    return [n for n in COUNTS if n < most] + [most]


def average_recall(overlaps: ArrayLike) -> float:
    """Return the mean recall over all IoU thresholds between 0.5 and 1: twice the area under the recall curve.

    An object with best overlap o is found at all thresholds up to o, so the area is exactly the mean of
    max(o - 0.5, 0). (COCO's measure of the same name averages ten thresholds, 0.5 to 0.95.)

    Args:
        overlaps: (G,), best overlap of each object.

    Returns:
        average recall in [0, 1]; NaN without objects.

    Source: Hosang, Benenson, Dollár, Schiele, "What makes for effective detection proposals?", 2015.
    """
    above = np.clip(np.asarray(overlaps, np.float64) - LEAST_IOU, 0, None)
    return _mean(above) / (1 - LEAST_IOU)


def best_boxes(boxes: ArrayLike, objects: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    """Find the box with the largest IoU for each object; of equal ones, the first.

    Args:
        boxes: (R, 4), at least one.
        objects: (G, 4).

    Returns:
        int64 (G,) indices into `boxes`, and float64 (G,) their IoUs.

    Raises:
        ValueError: there are no boxes.
    """
    overlaps = iou(boxes, objects)  # (R, G)
    if not len(overlaps):
        raise ValueError("boxes: expected at least one, got none")
    return overlaps.argmax(axis=0).astype(np.int64), overlaps.max(axis=0)


def _best_of_first(overlaps: Floats, ends: Sequence[int]) -> Floats:
    """Return the best overlaps with the first boxes: (R, G), N numbers of boxes -> (N, G)."""
    running = np.maximum.accumulate(overlaps, axis=0)
    none = np.zeros((1, overlaps.shape[1]))
    return np.concatenate([none, running])[list(ends)]


def _check_counts(counts: Iterable[int | None]) -> None:
    negative = [n for n in counts if n is not None and n < 0]
    if negative:
        raise ValueError(f"max_boxes: expected 0 or more, got {negative[0]}")


def _check_present(proposals: Mapping[str, ArrayLike], dataset: Sequence[ImageRecord]) -> None:
    missing = [record.id for record in dataset if record.id not in proposals]
    if missing:
        raise ValueError(
            f"proposals: no boxes for {len(missing)} of {len(dataset)} images, the first is {missing[0]}; "
            "extract their proposals"
        )


def _class_count(dataset: Sequence[ImageRecord]) -> int:
    """Return the number of classes in the data set, or one more than the largest label if that is greater."""
    used = 1 + max((int(record.labels.max(initial=-1)) for record in dataset), default=-1)
    return max(len(getattr(dataset, "classes", ())), used)


def _mean(values: NDArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
