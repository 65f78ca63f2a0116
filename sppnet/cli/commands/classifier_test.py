"""Errors of a trained classifier by view: one crop, ten crops, the whole photo, 96 windows of its feature maps.

sppnet classifier test --run runs/scratch --views crop full maps+full
"""

from __future__ import annotations

from typing import Any

from sppnet.settings.classifier import ClassifierTestSettings

SETTINGS = ClassifierTestSettings


def run(settings: ClassifierTestSettings) -> dict[str, Any]:
    """Return the errors in percent and the seconds per photo of each view."""
    from sppnet.classifier.photos import CLASSIFIER
    from sppnet.classifier.testing import load_classifier, photos_to_test, test_views

    classifier = load_classifier(settings)
    photos = photos_to_test(settings, classifier)
    print(f"{len(photos)} photos, {len(photos.classes)} classes: {settings.run / CLASSIFIER}")
    print(f"{'view':12s}{'top-1 error':>12s}{'top-5 error':>12s}{'s per photo':>13s}")
    found = {}
    for tested in test_views(settings, classifier, photos):
        errors = found[str(tested.view)] = tested.summary()
        print(f"{tested.view!s:12s}{errors['top1_error']:12.2f}{errors['top5_error']:12.2f}{tested.seconds:13.4f}")
    return found
