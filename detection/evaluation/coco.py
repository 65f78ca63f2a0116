"""Average precision by the rules of COCO, computed by pycocotools.

COCO counts differently from VOC: ten IoU thresholds .5:.05:.95, 101 points of recall, at most 100 detections
an image, and boxes without the +1: our inclusive corners become xywh with w = x2 - x1 + 1, so that overlaps
are the same.

COCO knows no difficult objects. They become crowds (iscrowd = 1), the only objects pycocotools leaves out
of the count. Any number of detections may fall on a crowd, as in VOC; but a crowd's overlap is the part of
the *detection* that it covers, so that a small box inside a difficult object is left out too.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detection.boxes import to_xywh
from detection.detection_table import DetectionTable
from detection.evaluation.matching import GroundTruth, check_labels, class_names, image_index

if TYPE_CHECKING:
    from pycocotools.coco import COCO

    from data.records import ImageRecord
    from detection.detections import Detections

MAX_DETECTIONS = (1, 10, 100)
"""An image and class, of the recalls and (the last) of the precisions: pycocotools' Params."""


_STATS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
"""In the order of COCOeval.summarize."""


@dataclass(frozen=True, eq=False)
class CocoResult:
    """COCO's twelve numbers in [0, 1], nan where there is no object of that kind, and the classes' own.

    Attributes:
        classes: names, in label order.
        ap, ap50, ap75: mean over classes at IoU .5:.95, .5 and .75.
        ap_small, ap_medium, ap_large: of objects below 32², up to 96², and above, in pixels.
        ar1, ar10, ar100: mean recall with at most 1, 10, 100 detections an image and class.
        ar_small, ar_medium, ar_large: mean recall with 100, by size.
        class_ap: float64 (K,), AP at IoU .5:.95 of each class.
        class_ap50: float64 (K,), at IoU .5.
    """

    classes: tuple[str, ...]
    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    class_ap: NDArray[np.float64]
    class_ap50: NDArray[np.float64]


def evaluate(
    detections: Mapping[str, Detections],
    records: Sequence[ImageRecord],
    classes: Sequence[str] | None = None,
) -> CocoResult:
    """Score detections; prints nothing.

    Args:
        detections: image id -> boxes (0-based inclusive image pixels), scores, labels. Images may be missing.
        records: the ground truth; all its images count.
        classes: names of the K classes, in label order; None: those of the data set, or for a plain
            sequence the labels that occur in it.

    Raises:
        ValueError: an image is not in the ground truth, or a label is out of range.
    """
    from pycocotools.cocoeval import COCOeval

    names = class_names(records, classes)
    table = DetectionTable.of(detections)
    image = image_index(table, records)
    check_labels(table, GroundTruth.of(records), len(names))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _coco(len(records), names, list(_ground_truth(records)))
        found = _coco(len(records), names, list(_annotations(table, image)))
        run = COCOeval(truth, found, "bbox")
        run.params.maxDets = list(MAX_DETECTIONS)
        run.evaluate()
        run.accumulate()
        if names:
            run.summarize()
    stats = run.stats if names else [-1.0] * 12
    numbers = {name: float(v) if v >= 0 else float("nan") for name, v in zip(_STATS, stats, strict=True)}
    class_ap, class_ap50 = _of_classes(run.eval["precision"])
    return CocoResult(classes=names, class_ap=class_ap, class_ap50=class_ap50, **numbers)


def to_coco_json(
    detections: Mapping[str, Detections],
    image_ids: Mapping[str, int] | None = None,
    category_ids: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """COCO's results format: [{"image_id", "category_id", "bbox" (xywh), "score"}, ...].

    Args:
        detections: image id -> its detections.
        image_ids: the numbers of the images; None: ids made of digits are the numbers ("000139" is 139).
        category_ids: the number of each of the K classes; None: label + 1.

    Raises:
        ValueError: an image or label has no number, or two images share one.
    """
    table = DetectionTable.of(detections)
    number = _image_numbers(table.ids, image_ids)
    labels = table.rows.labels
    if category_ids is None:
        category_ids = range(1, 2 + int(labels.max(initial=-1)))
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(category_ids):
        raise ValueError(
            f"detections: labels reach from {labels.min()} to {labels.max()}, but there are "
            f"{len(category_ids)} category ids"
        )
    columns = (table.image.tolist(), labels.tolist(), to_xywh(table.rows.boxes).tolist(), table.rows.scores.tolist())
    return [
        {"image_id": number[i], "category_id": int(category_ids[k]), "bbox": box, "score": score}
        for i, k, box, score in zip(*columns, strict=True)
    ]


def _image_numbers(ids: Sequence[str], image_ids: Mapping[str, int] | None) -> list[int]:
    """COCO's number of each image."""
    if image_ids is not None:
        missing = [i for i in ids if i not in image_ids]
        if missing:
            raise ValueError(f"image_ids: no number for image {missing[0]!r}")
        numbers = [int(image_ids[i]) for i in ids]
    else:
        wordy = [i for i in ids if not (i.isascii() and i.isdigit())]
        if wordy:
            raise ValueError(f"COCO numbers its images, and {wordy[0]!r} is no number; give image_ids")
        numbers = [int(i) for i in ids]
    if len(set(numbers)) != len(numbers):
        raise ValueError("two images have the same COCO number; give image_ids")
    return numbers


def _ground_truth(records: Sequence[ImageRecord]) -> Iterator[dict[str, Any]]:
    """COCO annotations of the objects, without ids; images are numbered by position."""
    for i, record in enumerate(records):
        columns = (to_xywh(record.boxes).tolist(), record.labels.tolist(), record.difficult.tolist())
        for box, label, difficult in zip(*columns, strict=True):
            yield {
                "image_id": i,
                "category_id": label,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int(difficult),
            }


def _annotations(table: DetectionTable, image: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """COCO annotations of the detections, without ids."""
    columns = (
        image.tolist(),
        table.rows.labels.tolist(),
        to_xywh(table.rows.boxes).tolist(),
        table.rows.scores.tolist(),
    )
    for i, label, box, score in zip(*columns, strict=True):
        yield {
            "image_id": i,
            "category_id": label,
            "bbox": box,
            "area": box[2] * box[3],
            "score": score,
            "iscrowd": 0,
        }


def _coco(n_images: int, classes: Sequence[str], annotations: list[dict[str, Any]]) -> COCO:
    """pycocotools' index; not its loadRes, which fails without any detection."""
    from pycocotools.coco import COCO

    for n, annotation in enumerate(annotations):
        annotation["id"] = n + 1  # 0 means unmatched
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(n_images)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(classes)],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _of_classes(precision: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """pycocotools' precision (IoU 10, recall 101, K, area 4, maxDets 3), -1 unknown -> AP and AP50 (K,)."""
    every = precision[:, :, :, 0, -1]  # (10, 101, K)
    every = np.where(every < 0, np.nan, every)
    return every.mean(axis=(0, 1)), every[0].mean(axis=0)
