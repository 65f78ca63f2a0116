"""Train dlib's object detectors, one per class (HOG and a structural SVM), and score them.

    python -m venv dlib && dlib/bin/pip install dlib-bin
    PYTHONPATH=dlib/lib/python3.11/site-packages python benchmarks/peers/dlib_detectors.py --data bccd

dlib slides one window of a fixed shape over the photo and refuses objects of other shapes. So photos with an object of
the class whose shape differs from the median one, by their IoU after centring and scaling, are left out of the training
of that class, as few as dlib allows.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import dlib
import harness
import numpy as np
from numpy.typing import NDArray

from data import datasets
from data.records import Dataset, ImageRecord
from detection.detections import Detections
from detection.evaluation import coco, voc
from detection.image import read

SHOWN = -1.0  # lowest score of a detection, below dlib's threshold of 0: average precision needs the ranking
LEAST = (0.5, 0.6, 0.7, 0.8, 0.9)  # IoU of shapes, tried in turn
SMALLEST = 40  # pixels; dlib's windows have an area of 80 x 80, so photos are enlarged for smaller objects


def alike(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of the shape of each box with the median shape."""
    ratios = (boxes[:, 2] - boxes[:, 0] + 1) / (boxes[:, 3] - boxes[:, 1] + 1)
    off = np.exp(np.abs(np.log(ratios / np.median(ratios))))
    # Of two boxes of equal area and aspect ratios that differ by r, the intersection is 1 / sqrt(r) of the area.
    shared = 1 / np.sqrt(off)
    return shared / (2 - shared)


def train_class(train: Dataset, images: dict[str, Any], label: int, options: Any) -> Any:
    """The detector of one class; None if dlib refuses the objects."""
    of_class = [r.boxes[r.labels == label].astype(np.float64) for r in train]
    fits = np.split(alike(np.concatenate(of_class)), np.cumsum([len(boxes) for boxes in of_class])[:-1])
    for least in LEAST:
        kept = [(r, boxes) for r, boxes, fit in zip(train, of_class, fits, strict=True) if (fit >= least).all()]
        if (detector := _train_on(kept, images, options)) is not None:
            print(f"{train.classes[label]}: {len(kept)} of {len(train)} photos, shapes with an IoU of {least} or more")
            return detector
    print(f"{train.classes[label]}: dlib refuses the objects")
    return None


def _train_on(kept: list[tuple[ImageRecord, Any]], images: dict[str, Any], options: Any) -> Any:
    """A detector trained on photos and boxes; None if dlib refuses them."""
    chosen = dlib.simple_object_detector_training_options()
    chosen.C, chosen.num_threads, chosen.add_left_right_image_flips = options.cost, options.threads, options.mirror
    sides = [min(b[2] - b[0], b[3] - b[1]) for _, boxes in kept for b in boxes]
    chosen.upsample_limit = 2 if sides and np.percentile(sides, 10) < SMALLEST else 1
    rectangles = [[dlib.rectangle(*box.round().astype(int).tolist()) for box in boxes] for _, boxes in kept]
    try:
        return dlib.train_simple_object_detector([images[r.id] for r, _ in kept], rectangles, chosen)
    except RuntimeError:
        return None


def detect(detectors: list[Any], record: ImageRecord, image: Any, classes: tuple[str, ...]) -> Detections:
    """Detections of all classes in one photo."""
    boxes, scores, labels = [], [], []
    for label, detector in enumerate(detectors):
        found, values, _ = detector.run(image, 1, SHOWN) if detector is not None else ([], [], [])
        boxes += [[r.left(), r.top(), r.right(), r.bottom()] for r in found]
        scores += list(values)
        labels += [label] * len(found)
    return Detections(np.array(boxes, np.float32), np.array(scores, np.float32), np.array(labels, np.int64), classes)


def main() -> None:
    """Train, score and write the report."""
    flags = harness.parser(__doc__, "dlib_detectors", "threads")
    flags.add_argument("--data", type=Path, required=True, help="labelled photos in any format, with two splits")
    flags.add_argument("--cost", type=float, default=5.0, help="C (%(default)s)")
    flags.add_argument("--no-mirror", dest="mirror", action="store_false", help="without mirror images")
    flags.add_argument("--cores", type=int, default=2, help="minutes are those of so many cores (%(default)s)")
    flags.add_argument("--metric", choices=["voc07", "area"], default="voc07", help="(%(default)s)")
    options: argparse.Namespace = flags.parse_args()
    started = time.monotonic()
    splits = datasets.usual(options.data)
    train = datasets.load(options.data, splits[0])
    test = datasets.load(options.data, splits[1], classes=train.classes)
    images = {r.id: read(r.path, r.size) for r in train}
    clock = time.process_time()
    detectors = [train_class(train, images, label, options) for label in range(len(train.classes))]
    minutes = (time.process_time() - clock) / options.cores / 60
    clock = time.perf_counter()
    found = {r.id: detect(detectors, r, read(r.path, r.size), train.classes) for r in test}
    photo_seconds = (time.perf_counter() - clock) / len(test)
    result = voc.evaluate(found, test, 0.5, options.metric, train.classes)
    point = {
        "minutes": minutes,
        "mean_ap": float(result.mean_ap),
        "coco_ap": coco.evaluate(found, test, train.classes).ap,
        "photo_seconds": photo_seconds,
    }
    print(" ".join(f"{name} {value:.4g}" for name, value in point.items()))
    harness.keep(options, {"points": [point], "ap": [float(v) for v in result.ap], "photos": len(train)}, started)


if __name__ == "__main__":
    main()
