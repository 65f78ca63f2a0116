"""Train one box regressor per class, beside the SVMs of a run."""

from __future__ import annotations

from typing import Any

from sppnet.cli.resolving import resolve_run as resolve
from sppnet.settings.detector import BboxRegressorSettings

SETTINGS = BboxRegressorSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: BboxRegressorSettings) -> dict[str, Any]:
    """Return the model's folder and configuration."""
    from sppnet.detector.bbox_regressors import train_bbox_regressors
    from sppnet.run import Run

    run = Run.open(settings)
    model, folder = train_bbox_regressors(run, settings), run.model(settings.model_name)
    print(f"{sum(r is not None for r in model.regressors)} box regressors in {folder}")
    return {"model": str(folder), "configuration": model.summary()}
