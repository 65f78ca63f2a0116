"""Train and score a detector on generated photos: proposals, features, SVMs, box regression, test, pictures."""

from __future__ import annotations

import time
from typing import Any

from sppnet.cli.resolving import resolve_run as resolve
from sppnet.settings.train import DemoSettings

SETTINGS = DemoSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: DemoSettings) -> dict[str, Any]:
    """Return the scores on the generated test split."""
    from data import minivoc
    from sppnet.detector.training import train_and_test
    from sppnet.run import Run
    from sppnet.text import clock

    started = time.monotonic()
    assert settings.devkit is not None
    minivoc.generate(settings.devkit, settings.train, settings.test, settings.seed)
    run = Run.open(settings)
    training = train_and_test(run, settings)
    for line in training.scores.lines():
        print(line)
    print(training.scores.headline())
    print(f"pictures of detections over the ground truth: {run.folder / 'pictures'}")
    print(clock(time.monotonic() - started))
    return training.summary()
