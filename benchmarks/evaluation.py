"""Compare the VOC evaluation of 500,000 detections with a literal box-by-box implementation of the same rules.

    python benchmarks/evaluation.py --devkit datasets/VOCdevkit

The peer is the tests' reference implementation of the devkit's and py-faster-rcnn's evaluation. The detections are
shifted objects and random boxes with random scores on the photos of the split. The largest difference between both
sides' average precisions is reported.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import harness
import numpy as np

from data import voc
from data.records import Dataset
from detection.detections import Detections
from detection.evaluation.voc import evaluate
from tests.reference import voc_eval

Found = dict[str, Detections]


def detections(dataset: Dataset, total: int, seed: int) -> Found:
    """Draw random boxes, one in ten of them near an object and with its class: image id -> detections."""
    rng = np.random.default_rng(seed)
    count = total // len(dataset)
    found = {}
    for record in dataset:
        height, width = record.size
        corner = rng.uniform(0, 0.8, (count, 2)) * [width, height]
        boxes = np.hstack([corner, corner + rng.uniform(0.05, 0.5, (count, 2)) * [width, height]]).astype(np.float32)
        labels = rng.integers(0, len(dataset.classes), count)
        if len(record.labels):
            near = rng.random(count) < 0.1
            object_ = rng.integers(0, len(record.labels), count)[near]
            boxes[near] = record.boxes[object_] + rng.normal(0, 8, (near.sum(), 4))
            labels[near] = record.labels[object_]
        found[record.id] = Detections(boxes, rng.random(count).astype(np.float32), labels)
    return found


def main() -> None:
    """Run the benchmark and write its report."""
    flags = harness.parser(__doc__, "evaluation")
    flags.add_argument("--devkit", type=Path, required=True, help="a VOCdevkit with VOC2007")
    flags.add_argument("--split", default="test", help="split of the photos (%(default)s)")
    flags.add_argument("--boxes", type=int, default=500_000, help="total number of detections (%(default)s)")
    flags.add_argument("--repeats", type=int, default=3, help="sets of random detections (%(default)s)")
    options = flags.parse_args()
    started, dataset = time.monotonic(), voc.load(options.devkit, "2007", options.split)
    classes = len(dataset.classes)
    sets = [detections(dataset, options.boxes, seed) for seed in range(options.repeats)]
    mine = np.array(evaluate(sets[0], dataset).ap)
    theirs = np.array([np.nan if ap is None else ap for *_, ap, _ in voc_eval.evaluate(sets[0], dataset, classes)])
    difference = float(np.nanmax(np.abs(mine - theirs)))
    rows = {
        "sppnet": harness.timed(lambda found: evaluate(found, dataset)),
        "box by box": harness.timed(lambda found: voc_eval.evaluate(found, dataset, classes)),
    }
    times = harness.seconds(harness.interleaved(rows, sets))
    result: dict[str, Any] = {
        "largest_difference_of_ap": difference,
        "table": harness.table(times),
        "ratio": harness.ratio(times, "box by box", "sppnet"),
    }
    harness.show_ratio("box by box / sppnet", result["ratio"])
    harness.keep(options, result, started)


if __name__ == "__main__":
    main()
