"""Train linear SVMs on a pretrained network's vectors of labelled photos, test them and save a classifier.

sppnet classifier train --data labelled_photos
"""

from __future__ import annotations

from typing import Any

from sppnet.cli.resolving import resolve_classifier_run as resolve
from sppnet.settings.classifier import ClassifierSettings

SETTINGS = ClassifierSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: ClassifierSettings) -> dict[str, Any]:
    """Return the scores by the protocol of the data set."""
    from sppnet.classifier.svms import train_svms

    trained = train_svms(settings)
    for line in trained.scores.lines():
        print(line)
    print(f"classifier: {trained.folder}")
    print(f"use it: sppnet classify PHOTOS --model {trained.folder}")
    return trained.scores.summary()
