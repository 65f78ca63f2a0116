"""How well proposals cover the annotated objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection.boxes import as_boxes, iou

if TYPE_CHECKING:
    from data.records import ImageRecord

THRESHOLDS = (0.5, 0.7)


@dataclass(frozen=True, eq=False)
class RecallResult:
    """Coverage of the objects that are not difficult; NaN where there is none.

    Attributes:
        recall: IoU threshold -> part of the objects with a proposal at that IoU or above.
        mean_best_overlap: mean over the objects of the greatest IoU with a proposal (ABO over all classes).
        class_recall: IoU threshold -> float64 (K,), recall of each class.
        class_best_overlap: float64 (K,), average best overlap of each class (IJCV 2013's ABO).
        objects: int64 (K,), objects of each class.
        boxes_per_image: mean number of proposals used.
        images: number of images.
    """

    recall: dict[float, float]
    mean_best_overlap: float
    class_recall: dict[float, NDArray[np.float64]]
    class_best_overlap: NDArray[np.float64]
    objects: NDArray[np.int64]
    boxes_per_image: float
    images: int

    @property
    def class_mean_recall(self) -> dict[float, float]:
        """IoU threshold -> mean of the classes that have objects."""
        return {threshold: _mean(values[self.objects > 0]) for threshold, values in self.class_recall.items()}

    @property
    def class_mean_best_overlap(self) -> float:
        """Mean of the classes that have objects (IJCV 2013's MABO)."""
        return _mean(self.class_best_overlap[self.objects > 0])


def evaluate(
    proposals: Mapping[str, ArrayLike], dataset: Sequence[ImageRecord], max_boxes: int | None = None
) -> RecallResult:
    """Measure proposals against annotations.

    Args:
        proposals: image id -> boxes (R, 4), best first, xyxy, 0-based inclusive image pixels. Images that
            are not in the data set are ignored.
        dataset: the images; difficult objects are left out.
        max_boxes: use only this many boxes of each image, the first ones.

    Raises:
        ValueError: an image of the data set has no entry in `proposals`, or `max_boxes` is negative.
    """
    if max_boxes is not None and max_boxes < 0:
        raise ValueError(f"max_boxes: expected 0 or more, got {max_boxes}")
    missing = [record.id for record in dataset if record.id not in proposals]
    if missing:
        raise ValueError(
            f"proposals: no boxes for {len(missing)} of {len(dataset)} images, first {missing[0]}; extract them too"
        )
    overlaps, labels, counts = [np.empty(0)], [np.empty(0, np.int64)], []
    for record in dataset:
        boxes = as_boxes(proposals[record.id])[:max_boxes]
        easy = ~record.difficult
        overlaps.append(best_overlaps(boxes, record.boxes[easy]))
        labels.append(record.labels[easy])
        counts.append(len(boxes))
    return _summarise(np.concatenate(overlaps), np.concatenate(labels), counts, _class_count(dataset))


def best_overlaps(boxes: ArrayLike, objects: ArrayLike) -> NDArray[np.float64]:
    """Greatest IoU of each object with a box: (R, 4), (G, 4) -> float64 (G,); 0 without boxes."""
    return iou(boxes, objects).max(axis=0, initial=0.0)


def _summarise(
    overlaps: NDArray[np.float64], labels: NDArray[np.int64], counts: list[int], classes: int
) -> RecallResult:
    """The result from one overlap (G,) and label (G,) an object and one count an image."""
    of_class = [overlaps[labels == k] for k in range(classes)]
    return RecallResult(
        recall={t: _mean(overlaps >= t) for t in THRESHOLDS},
        mean_best_overlap=_mean(overlaps),
        class_recall={t: np.array([_mean(o >= t) for o in of_class]) for t in THRESHOLDS},
        class_best_overlap=np.array([_mean(o) for o in of_class]),
        objects=np.array([len(o) for o in of_class], np.int64),
        boxes_per_image=_mean(np.array(counts)),
        images=len(counts),
    )


def _class_count(dataset: Sequence[ImageRecord]) -> int:
    """Classes named by the data set, or else up to the greatest label in use."""
    used = 1 + max((int(record.labels.max(initial=-1)) for record in dataset), default=-1)
    return max(len(getattr(dataset, "classes", ())), used)


def _mean(values: NDArray) -> float:
    return float(values.mean()) if len(values) else float("nan")
