"""Train one linear SVM per class with hard-negative mining, then one box regressor per class.

The second of three commands: extract-features, train-svms, test-net.
"""

from __future__ import annotations

from typing import Any

from sppnet.cli.resolving import resolve_run as resolve
from sppnet.settings.detector import SVMSettings

SETTINGS = SVMSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: SVMSettings) -> dict[str, Any]:
    """Return the model's folder and configuration."""
    from sppnet.detector.bbox_regressors import train_bbox_regressors
    from sppnet.detector.svms import train_svms
    from sppnet.run import Run

    run = Run.open(settings)
    trained = train_svms(run, settings)
    model, folder = trained.model, run.model(settings.model_name)
    if settings.bbox_regression:
        model = train_bbox_regressors(run, settings, trained)
    print(f"{len(model.classes)} SVMs, {sum(r is not None for r in model.regressors)} box regressors in {folder}")
    return {"model": str(folder), "configuration": model.summary()}
