"""All stages of a run, one after the other, each as its own tool does it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sppnet.detector.features import extract_features, extract_proposals
from sppnet.detector.finetuning import finetune
from sppnet.detector.svms import train_bbox_regressors, train_svms
from sppnet.detector.testing import Source, detect, draw_pictures, report
from sppnet.progress import log
from tools.common import Run

PICTURES = 12


def train_and_test(run: Run) -> dict[str, Any]:
    """From photos to a scored detector; what is finished already is not done again.

    Returns:
        the scores before and after box regression, and seconds of each stage.
    """
    o, seconds = run.options, {}
    splits = (o.train_split, o.test_split)
    datasets = {split: run.dataset(split) for split in splits}  # a fault in the data shows before the work begins
    stages: dict[str, Callable[[], Any]] = {
        "windows": lambda: [extract_proposals(run, split) for split in splits],
        "features": lambda: extract_features(run, datasets.values()),
        "mirrored features": lambda: extract_features(run, [datasets[o.train_split]], mirrored=True),
        "fully connected layers": lambda: finetune(run),
        "SVMs": lambda: train_svms(run),
        "box regressors": lambda: train_bbox_regressors(run),
    }
    if o.features == "pool5" or o.head:
        del stages["mirrored features"], stages["fully connected layers"]
    elif not o.mirror:
        del stages["mirrored features"]
    for number, (name, work) in enumerate(stages.items(), 1):
        log.info("\nstage %d of %d: %s", number, len(stages) + 1, name)
        started = time.monotonic()
        work()
        seconds[name] = round(time.monotonic() - started, 1)
    log.info("\nstage %d of %d: test", len(stages) + 1, len(stages) + 1)
    started = time.monotonic()
    dataset, detected = detect(run, [Source.of(run, run.model, "svm")], o.test_split, "")
    scores = report(run, dataset, detected, o.metric)
    draw_pictures(run.folder / "pictures", dataset, detected["regressed"], PICTURES)
    seconds["test"] = round(time.monotonic() - started, 1)
    return scores | {"stage_seconds": seconds}
