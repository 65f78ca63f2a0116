"""Fine-tune fc6, fc7 and a softmax layer on pooled windows; the convolutions stay as they are.

Runs between extract-features and train-svms; `train-svms --features fc7` then learns from the layers.
"""

from __future__ import annotations

from typing import Any

from sppnet.cli.resolving import resolve_run as resolve
from sppnet.settings.detector import FinetuneSettings

SETTINGS = FinetuneSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: FinetuneSettings) -> dict[str, Any]:
    """Return settings, curve and best point of the training."""
    from sppnet.detector.finetuning import finetune
    from sppnet.run import Run

    run = Run.open(settings)
    result = finetune(run, settings)
    best = result["best"]
    print(f"validation AP {best['validation_ap']:.4f} at iteration {best['iteration']}: {run.head}")
    return result
