"""Entry points of torch.hub: `torch.hub.load(REPOSITORY, "sppnet", name="lite0-voc2007")` gives an `SPPDetector`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

dependencies = ["torch", "torchvision", "cv2", "numba", "safetensors", "sklearn"]


def sppnet(name: str = "lite0-voc2007", **options: Any) -> Any:
    """Load a trained detector, ready for `.detect(photo)`.

    Args:
        name: name of a bundled detector (docs/models.md), or a model folder.
        options: device, weights, precision, scales; see `SPPDetector.from_pretrained`.

    Raises:
        FileNotFoundError, ValueError: as `SPPDetector.from_pretrained`.
    """
    with _importable():
        from detection import SPPDetector

        return SPPDetector.from_pretrained(name, **options)


def sppnet_classifier(name: str = "lite0", **options: Any) -> Any:
    """Load a classifier for `.classify(photo)`, or a pretrained network for `.represent(photo)`.

    Args:
        name: folder of a classifier, or name of a network (docs/classification.md).
        options: device, weights, precision; see `SPPClassifier.from_pretrained`.

    Raises:
        FileNotFoundError, ValueError: as `SPPClassifier.from_pretrained`.
    """
    with _importable():
        from classification import SPPClassifier

        return SPPClassifier.from_pretrained(name, **options)


@contextmanager
def _importable() -> Iterator[None]:
    """Make the packages beside this file importable; torch.hub removes the folder from sys.path before the call."""
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
