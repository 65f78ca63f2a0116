"""Turn the margins of a model's detections into probabilities, from training photos that are held out of its SVMs."""

from __future__ import annotations

from typing import Any

from sppnet.cli.resolving import resolve_run as resolve
from sppnet.settings.detector import CalibrateSettings

SETTINGS = CalibrateSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: CalibrateSettings) -> dict[str, Any]:
    """Return the model's folder and its calibration."""
    from sppnet.detector.calibrating import calibrate
    from sppnet.run import Run

    run = Run.open(settings)
    model, folder = calibrate(run, settings), run.model(settings.model_name)
    found = model.calibration
    shown = f"shown from {min(found.thresholds):.2f} to {max(found.thresholds):.2f} on" if found else "none"
    print(f"probabilities of {len(model.classes)} classes, {shown}: {folder}")
    return {"model": str(folder), "calibration": found.to_dict() if found else None}
