"""Detect the objects of the test split and print mean average precision.

The third of three commands: extract-features, train-svms, test-net.
"""

from __future__ import annotations

from typing import Any

from sppnet.cli.resolving import resolve_run as resolve
from sppnet.settings.detector import TestSettings

SETTINGS = TestSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: TestSettings) -> dict[str, Any]:
    """Return the scores before and after box regression, and the models' configurations."""
    from sppnet.detector.scoring import score_detections
    from sppnet.detector.testing import (
        SHOWN_SCORES,
        check_pictures,
        detections_name,
        draw_pictures,
        test_detector,
    )
    from sppnet.run import Run

    run, name = Run.open(settings), detections_name(settings)
    folder = run.folder / "pictures" / (name.rstrip("-") or "model")
    if settings.pictures:
        check_pictures(folder, run.dataset(run.test_split), settings.pictures)
    dataset, stages, models = test_detector(run, settings)
    scores = score_detections(run, dataset, stages, settings.metric, name)
    for line in scores.lines():
        print(line)
    if settings.pictures:
        final, alone = list(stages.values())[-1], len(models) == 1 and settings.scores == "svm"
        calibration = models[0].model.calibration if alone else None
        draw_pictures(folder, dataset, final, settings.pictures, SHOWN_SCORES[settings.scores], calibration)
        print(f"pictures of detections over the ground truth: {folder}")
    return scores.summary() | {"configuration": [tested.model.summary() for tested in models]}
