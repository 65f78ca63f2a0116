"""Measure how long it takes from a submitted annotation to a better answer while photos are labelled.

    python benchmarks/labelling.py --data datasets/VOCdevkit --photos 100

Photos of the training split are labelled one by one in random order, as a labelling tool would submit them. Prints the
seconds of every stage for blocks of photos, and, at some counts of photos, the average precision on test photos and the
time of a training from the beginning.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import harness
import numpy as np

T = TypeVar("T")
STAGES = ("prepare", "detect", "learn", "keep")
BLOCKS = (1, 5, 10, 20, 50, 100, 200, 500, 1000)


class Clock:
    """Seconds of every stage, photo by photo."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}

    def time(self, stage: str, work: Callable[[], T]) -> T:
        """Do work and note its seconds."""
        started = time.perf_counter()
        result = work()
        self.seconds[stage].append(time.perf_counter() - started)
        return result

    def row(self, first: int, stop: int) -> dict[str, float]:
        """Return the median seconds of every stage over some photos."""
        return {stage: statistics.median(values[first:stop]) for stage, values in self.seconds.items()}


def main() -> None:
    """Run the benchmark and write its report."""
    flags: argparse.ArgumentParser = harness.parser(__doc__, "labelling", "threads")
    flags.add_argument("--data", type=Path, required=True, help="labelled photos in any format")
    flags.add_argument("--photos", type=int, default=100, help="number of photos to label (%(default)s)")
    flags.add_argument("--test", type=int, default=50, help="number of test photos (%(default)s)")
    flags.add_argument("--model", help="detector to begin with (default: none)")
    flags.add_argument("--seed", type=int, default=0, help="of the order of the photos (%(default)s)")
    options = flags.parse_args()
    harness.use_threads(options.threads)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options, Path(folder))
    harness.keep(options, result, started)


def measure(options: Any, folder: Path) -> dict[str, Any]:
    """Label photos one by one, and return rows of seconds and scores."""
    from data import datasets
    from sppnet.labelling.base import Base
    from sppnet.labelling.learner import Learner
    from sppnet.server.uploads import UploadLimits
    from sppnet.settings.commands import ServeSettings

    train = datasets.load(options.data, datasets.usual_split(options.data, "train"))
    test = datasets.load(options.data, datasets.usual_split(options.data, "test"), classes=train.classes)
    base = Base.load(ServeSettings(label_studio=True, model=(options.model,) if options.model else None))
    learner = Learner(folder, base, train.classes, UploadLimits(100, 100))
    learn_one(learner, train[0], train.classes, Clock())  # compiles the kernels
    learner.forget(train[0].id)
    order = np.random.default_rng(options.seed).permutation(len(train))[: options.photos]
    clock, rows, before = Clock(), [], 0
    print("| photos | " + " | ".join(f"{stage} s" for stage in STAGES) + " | all s | AP | caught up s | AP then |")
    print("|---" * (len(STAGES) + 5) + "|")
    for count, index in enumerate(order.tolist(), 1):
        learn_one(learner, train[index], train.classes, clock)
        if count in BLOCKS or count == len(order):
            row = {"photos": count, **clock.row(before, count), "all": sum(map(sum, clock.seconds.values()))}
            row |= scores(learner, test, options.test)
            rows.append(row)
            values = [f"{v:.3g}" for v in row.values()]
            print("| " + " | ".join(values) + " |", flush=True)
            before = count
    return {"rows": rows}


def learn_one(learner: Any, record: Any, classes: tuple[str, ...], clock: Clock) -> None:
    """Do for one photo what a labelling tool asks for: show boxes, then learn those of a person."""
    from sppnet.labelling.regions import LabelledBoxes

    boxes = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in record.boxes.tolist())
    found = LabelledBoxes(boxes, tuple(classes[k] for k in record.labels), {})
    clock.time("prepare", lambda: learner.prepare(record.id, record.path.read_bytes))
    clock.time("detect", lambda: learner.detect(record.id, record.path.read_bytes))
    clock.time("learn", lambda: learner.learn(record.id, record.path.read_bytes, lambda size: found))
    clock.time("keep", learner.keep)


def scores(learner: Any, test: Any, count: int) -> dict[str, float]:
    """Return the AP now, the seconds of a training from the beginning, as in a pause of labelling, and the AP then."""
    before = average_precision(learner, test, count)
    started = time.perf_counter()
    training = learner.detector.catchup()
    training.run()
    learner.adopt(training)
    seconds = time.perf_counter() - started
    return {"ap": before, "caught_up_seconds": seconds, "caught_up_ap": average_precision(learner, test, count)}


def average_precision(learner: Any, test: Any, count: int) -> float:
    """Return the mean average precision on test photos, evenly spaced."""
    from detection import features
    from detection.evaluation import voc
    from detection.training import live

    records = list(test)[:: max(1, len(test) // count)][:count]
    found = {}
    for record in records:
        windows = learner.prepare(record.id, record.path.read_bytes)
        pyramid = features.load_pyramid(learner.cache, record.id)
        found[record.id] = live.detect(learner.detector.model, pyramid, windows)
    return voc.evaluate(found, records, classes=test.classes).mean_ap


if __name__ == "__main__":
    main()
