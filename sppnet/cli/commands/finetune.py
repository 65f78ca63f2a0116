"""Fine-tune fc6, fc7 and a softmax layer on pooled windows; the convolutions stay as they are.

Runs between extract-features and train-svms; `train-svms --features fc7` then learns from the layers. Several processes
share every batch, on one machine or on many that share the run folder:

sppnet stage finetune --voc2007 --mirror
torchrun --nproc-per-node 2 tools/finetune.py --voc2007 --mirror
"""

from __future__ import annotations

import logging
import os
from typing import Any

from sppnet.cli.resolving import resolve_run as resolve
from sppnet.settings.detector import FinetuneSettings

SETTINGS = FinetuneSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: FinetuneSettings) -> dict[str, Any]:
    """Return settings, curve and best point of the training."""
    from sppnet.detector.finetuning import finetune
    from sppnet.progress import log
    from sppnet.run import Run

    first = int(os.environ.get("RANK", 0)) == 0  # of the processes that torchrun started
    if not first:
        log.setLevel(logging.WARNING)  # one bar is enough
    run = Run.open(settings)
    result = finetune(run, settings)
    best = result["best"]
    if first:
        print(f"validation AP {best['validation_ap']:.4f} at iteration {best['iteration']}: {run.head}")
    return result
