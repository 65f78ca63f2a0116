"""Train a network with spatial pyramid pooling by gradient descent on labelled photos.

sppnet classifier train-network --data labelled_photos --sizes 224 180
torchrun --nproc-per-node 2 tools/train_classifier.py --data labelled_photos
"""

from __future__ import annotations

import logging
import os
from typing import Any

from sppnet.cli.resolving import resolve_classifier_run as resolve
from sppnet.settings.classifier import NetworkTrainingSettings

SETTINGS = NetworkTrainingSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: NetworkTrainingSettings) -> dict[str, Any]:
    """Return settings, held-out photos and curve of the training."""
    from sppnet.classifier.network_training import train_network
    from sppnet.classifier.photos import CLASSIFIER, run_folder
    from sppnet.classifier.training_record import held_out_scores
    from sppnet.progress import log

    first = int(os.environ.get("RANK", 0)) == 0  # of the processes that torchrun started
    if not first:
        log.setLevel(logging.WARNING)  # one bar is enough
    record, folder = train_network(settings), run_folder(settings) / CLASSIFIER
    if first:
        right = f"{100 * held_out_scores(record)['accuracy']:.1f} % of {record['held_out']} held-out photos right"
        print(f"{right} (centre crops) after epoch {record['curve'][-1]['epoch']}")
        print(f"classifier: {folder}")
        print(f"use it: sppnet classify PHOTOS --model {folder}")
    return record
