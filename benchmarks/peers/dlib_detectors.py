"""Train dlib's sliding-window detectors (HOG and a linear SVM per class), and score them.

    pip install dlib-bin
    python benchmarks/peers/dlib_detectors.py --data bccd

What people without a GPU used before deep learning, and still do: `dlib.train_simple_object_detector`, one class at a
time. Its window has one shape per class, and dlib refuses objects that this window cannot reach; those that are too
long or too small are marked "ignore", by stricter limits until dlib accepts the others. dlib keeps HOG pyramids of all
photos in memory: with windows of 80 × 80 pixels, photos doubled twice and their mirror images, 292 photos of 640 × 480
needed more than 23 GB. So windows are 60 × 60, photos are doubled once, and there are no mirror images. Minutes are
those of the training: the processor's time divided by the number of cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import dlib
import harness
import numpy as np
from numpy.typing import NDArray

from data import datasets
from data.records import Dataset
from detection.detections import Detections
from detection.evaluation import coco, voc
from detection.image import read

LIMITS = (3.0, 2.5, 2.0, 1.7, 1.4, 1.2)  # how many times longer or wider than the window's shape an object may be
LEAST = -1.0  # score from which on detections are kept


def write_labels(path: Path, train: Dataset, label: int, limit: float, smallest: float) -> int:
    """Write dlib's XML file of the objects of a class. Returns how many of them are ignored.

    Args:
        path: the file.
        train: photos.
        label: the class.
        limit: how many times longer or wider than usual objects may be.
        smallest: smallest area of an object in pixels.
    """
    boxes = np.concatenate([r.boxes[r.labels == label] for r in train])
    shape = float(np.median(_shapes(boxes)))
    root, ignored = ElementTree.Element("dataset"), 0
    images = ElementTree.SubElement(root, "images")
    for record in train:
        image = ElementTree.SubElement(images, "image", file=str(record.path.resolve()))
        own = record.boxes[record.labels == label]
        for (x0, y0, x1, y1), long, hard in zip(
            own, _shapes(own), record.difficult[record.labels == label], strict=True
        ):
            width, height = x1 - x0 + 1, y1 - y0 + 1
            small = width * height < smallest
            left_out = bool(hard or small or max(long / shape, shape / long) > limit)
            ignored += left_out
            place = {"top": y0, "left": x0, "width": width, "height": height}
            flags = {name: str(round(float(value))) for name, value in place.items()}
            ElementTree.SubElement(image, "box", flags | {"ignore": str(int(left_out))})
    ElementTree.ElementTree(root).write(path)
    return ignored


def _shapes(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Width over height."""
    shapes: NDArray[np.float32] = (boxes[:, 2] - boxes[:, 0] + 1) / (boxes[:, 3] - boxes[:, 1] + 1)
    return shapes


def train(dataset: Dataset, label: int, options: argparse.Namespace) -> dlib.fhog_object_detector | None:
    """Train the detector of a class, or return None if dlib accepts no limit."""
    settings = dlib.simple_object_detector_training_options()
    settings.C, settings.num_threads = options.cost, options.threads
    settings.upsample_limit, settings.detection_window_size = options.doubled, options.window
    smallest = 1.2 * options.window / 4**options.doubled
    with tempfile.TemporaryDirectory() as folder:
        labels, detector = Path(folder) / "labels.xml", Path(folder) / "detector.svm"
        for limit in LIMITS:
            ignored = write_labels(labels, dataset, label, limit, smallest)
            try:
                dlib.train_simple_object_detector(str(labels), str(detector), settings)
            except RuntimeError as error:
                print(f"{dataset.classes[label]}, limit {limit}: {' '.join(str(error).split())[:300]}", flush=True)
                continue
            print(f"{dataset.classes[label]}: limit {limit}, {ignored} objects ignored", flush=True)
            return dlib.fhog_object_detector(str(detector))
    return None


def detect(detectors: list[dlib.fhog_object_detector | None], test: Dataset, doubled: int) -> dict[str, Detections]:
    """Detect on photos enlarged to twice their size `doubled` times."""
    found = {}
    for record in test:
        pixels = read(record.path, record.size)
        boxes, scores, labels = [], [], []
        for label, detector in enumerate(detectors):
            if detector is None:
                continue
            places, margins, _ = detector.run(pixels, doubled, LEAST)
            boxes += [[p.left(), p.top(), p.right(), p.bottom()] for p in places]
            scores += list(margins)
            labels += [label] * len(places)
        placed = np.array(boxes, np.float32).reshape(-1, 4)
        found[record.id] = Detections(placed, np.array(scores, np.float32), np.array(labels, np.int64), test.classes)
    return found


def main() -> None:
    """Train, score and write the report."""
    flags = harness.parser(__doc__, "dlib_detectors", "threads")
    flags.add_argument("--data", type=Path, required=True, help="labelled photos in any format, with two splits")
    flags.add_argument("--cores", type=int, default=2, help="minutes are those of so many cores (%(default)s)")
    flags.add_argument("--cost", type=float, default=5.0, help="C of the SVMs, 5 in dlib's examples (%(default)s)")
    flags.add_argument("--doubled", type=int, default=1, help="photos are doubled so often at most (%(default)s)")
    flags.add_argument("--window", type=int, default=3600, help="area of dlib's window in pixels (%(default)s)")
    flags.add_argument("--metric", choices=["voc07", "area"], default="voc07", help="(%(default)s)")
    options = flags.parse_args()
    started, spent = time.monotonic(), time.process_time()
    splits = datasets.usual(options.data)
    learned = datasets.load(options.data, splits[0])
    tested = datasets.load(options.data, splits[1], classes=learned.classes)
    detectors = [train(learned, label, options) for label in range(len(learned.classes))]
    minutes = (time.process_time() - spent) / options.cores / 60
    found = detect(detectors, tested, options.doubled)
    result = voc.evaluate(found, tested, 0.5, options.metric, learned.classes)
    point = {
        "minutes": minutes,
        "mean_ap": float(result.mean_ap),
        "ap": {name: float(ap) for name, ap in zip(learned.classes, result.ap, strict=True)},
        "coco_ap": coco.evaluate(found, tested, learned.classes).ap,
    }
    print(point)
    harness.keep(options, point | {"photos": len(learned)}, started)


if __name__ == "__main__":
    main()
