"""Average precision as defined by COCO, computed by pycocotools.

COCO differs from VOC: it averages over ten IoU thresholds .5:.05:.95, samples 101 recalls and uses at most 100
detections per image and class. Its boxes have no inclusive corners; ours become xywh with w = x2 - x1 + 1, which
leaves IoUs unchanged.

COCO has no difficult objects. They become crowds (iscrowd = 1), the only objects that pycocotools ignores. As in VOC,
any number of detections may match a crowd. Unlike in VOC, the overlap with a crowd is the covered share of the
*detection*, so that a small box inside a difficult object is ignored as well.
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

    from data.records import Dataset, FileId, ImageRecord
    from detection.detections import Detections

MAX_DETECTIONS = (1, 10, 100)
"""Detections per image and class, for ar1, ar10 and ar100; precisions use the last. Source: pycocotools' Params."""

_STATS = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
"""Fields of `CocoResult` in the order of COCOeval.summarize."""


@dataclass(frozen=True, eq=False)
class CocoResult:
    """COCO's twelve summary numbers and the average precisions of each class, in [0, 1]; nan without objects.

    Attributes:
        classes: class names in label order.
        ap, ap50, ap75: mean average precision over classes at IoU .5:.95, .5 and .75.
        ap_small, ap_medium, ap_large: `ap` of objects with an area below 32², up to 96² and above, in pixels.
        ar1, ar10, ar100: mean recall with at most 1, 10 and 100 detections per image and class.
        ar_small, ar_medium, ar_large: `ar100` by object size.
        class_ap: float64 (K,), average precision of each class at IoU .5:.95.
        class_ap50: float64 (K,), average precision of each class at IoU .5.
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
    """Compute COCO's average precisions and recalls, without pycocotools' output.

    Args:
        detections: image id -> detections, boxes in 0-based inclusive image pixels. Images may be missing.
        records: the ground truth. All its images count.
        classes: the K class names in label order. None: those of the data set, or, for a plain sequence, the labels
            that occur in it.

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
    class_ap, class_ap50 = _class_averages(run.eval["precision"])
    return CocoResult(classes=names, class_ap=class_ap, class_ap50=class_ap50, **numbers)


def to_coco_json(
    detections: Mapping[str, Detections],
    image_ids: Mapping[str, FileId] | None = None,
    category_ids: Sequence[FileId | None] | None = None,
) -> list[dict[str, Any]]:
    """Convert detections to COCO results: [{"image_id", "category_id", "bbox" (xywh), "score"}, ...].

    Args:
        detections: image id -> detections.
        image_ids: image id -> COCO image id, a number or text. None: the ids are numbers themselves ("000139" is 139).
        category_ids: the COCO category id of each of the K classes; detections of a class with None are left out.
            None: those that the detections state, or else label + 1. For both, see `ids_of`.

    Raises:
        ValueError: an image or label has no COCO id, or two images have the same one.
    """
    table = DetectionTable.of(detections)
    images = _image_ids(table.ids, image_ids)
    labels = table.rows.labels
    if category_ids is None:
        category_ids = next((found.category_ids for found in detections.values() if found.category_ids), None)
    if category_ids is None:
        category_ids = range(1, 2 + int(labels.max(initial=-1)))
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(category_ids):
        raise ValueError(
            f"detections: labels {labels.min()}..{labels.max()} do not fit {len(category_ids)} category ids; "
            "pass one per class"
        )
    columns = (table.image.tolist(), labels.tolist(), to_xywh(table.rows.boxes).tolist(), table.rows.scores.tolist())
    categories = [None if c is None else _plain(c) for c in category_ids]
    return [
        {"image_id": images[i], "category_id": categories[k], "bbox": box, "score": score}
        for i, k, box, score in zip(*columns, strict=True)
        if categories[k] is not None
    ]


def ids_of(dataset: Dataset) -> tuple[dict[str, FileId], tuple[FileId | None, ...] | None]:
    """Return the COCO ids of a data set, as `to_coco_json` takes them.

    They are those of its annotation file. In a data set without such ids, an image's id is its name where all names
    are numbers, as in VOC, else its place in the list, from 1; a category's id is its label + 1.

    Returns:
        image id -> COCO image id; the COCO category id of each class, None for a class that the file lacks, or None
        for label + 1.
    """
    names = [record.id for record in dataset]
    known = {record.id: record.file_id for record in dataset if record.file_id is not None}
    if len(known) == len(names):
        return known, dataset.category_ids or None
    numbers = map(int, names) if all(name.isdecimal() for name in names) else range(1, len(names) + 1)
    return dict(zip(names, numbers, strict=True)), dataset.category_ids or None


def _image_ids(ids: Sequence[str], image_ids: Mapping[str, FileId] | None) -> list[FileId]:
    """Return the COCO image id of each image."""
    if image_ids is not None:
        missing = [i for i in ids if i not in image_ids]
        if missing:
            raise ValueError(f"image_ids: image {missing[0]!r} is missing")
        numbers = [_plain(image_ids[i]) for i in ids]
    else:
        words = [i for i in ids if not (i.isascii() and i.isdigit())]
        if words:
            raise ValueError(f"image id {words[0]!r}: COCO image ids are numbers; pass image_ids")
        numbers = [int(i) for i in ids]
    if len(set(numbers)) != len(numbers):
        raise ValueError("two images have the same COCO image id; pass different image_ids")
    return numbers


def _plain(value: FileId) -> FileId:
    """A number or text that json can write; NumPy's integers become Python's."""
    return value if isinstance(value, str) else int(value)


def _ground_truth(records: Sequence[ImageRecord]) -> Iterator[dict[str, Any]]:
    """Yield COCO annotations of the objects, without annotation ids; image ids are positions in `records`."""
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
    """Yield COCO annotations of the detections, without annotation ids."""
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
    """Build pycocotools' index directly, because its loadRes fails without detections."""
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


def _class_averages(precision: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average pycocotools' precision (IoU 10, recall 101, K, area 4, maxDets 3), -1 if unknown, to AP and AP50 (K,)."""
    every = precision[:, :, :, 0, -1]  # (10, 101, K)
    every = np.where(every < 0, np.nan, every)
    return every.mean(axis=(0, 1)), every[0].mean(axis=0)
