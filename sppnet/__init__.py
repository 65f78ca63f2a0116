"""SPP-net object detection and image classification (He, Zhang, Ren, Sun, 2014).

Each photo goes through the convolutions once; every window is pooled from the feature map, scored by linear SVMs and
refined by box regression.

    import sppnet

    detector = sppnet.SPPDetector.from_pretrained("lite0-voc2007")
    found = detector.detect("photo.jpg")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sppnet import _packages

__version__ = "0.1.0"

_HOMES = {
    "SPPDetector": "detection.detector",
    "Detections": "detection.detections",
    "SPPClassifier": "classification.classifier",
    "train_detector": "sppnet.api",
    "train_classifier": "sppnet.api",
    "evaluate": "sppnet.api",
    "convert_dataset": "sppnet.dataset_conversion",
    "export_detections": "sppnet.detector.detection_export",
    "suggest": "sppnet.suggestion.suggest",
}
__all__ = [*_HOMES, "__version__"]

_packages.claim()

if TYPE_CHECKING:
    from classification.classifier import SPPClassifier as SPPClassifier
    from detection.detections import Detections as Detections
    from detection.detector import SPPDetector as SPPDetector
    from sppnet.api import evaluate as evaluate
    from sppnet.api import train_classifier as train_classifier
    from sppnet.api import train_detector as train_detector
    from sppnet.dataset_conversion import convert_dataset as convert_dataset
    from sppnet.detector.detection_export import export_detections as export_detections
    from sppnet.suggestion.suggest import suggest as suggest


def __getattr__(name: str) -> Any:
    """Load a public name, and torch with it, on first use."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
