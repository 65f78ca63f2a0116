"""For torch.hub: `torch.hub.load(REPOSITORY, "sppnet", name="lite0-voc2007")` gives an `SPPDetector`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

dependencies = ["torch", "torchvision", "cv2", "numba", "safetensors", "sklearn"]


def sppnet(name: str = "lite0-voc2007", **options: Any) -> Any:
    """A trained detector, ready for `.detect(photo)`.

    Args:
        name: of a detector that comes along (docs/models.md), or a model folder.
        options: device, weights, precision; see `SPPDetector.from_pretrained`.

    Raises:
        FileNotFoundError, ValueError: as `SPPDetector.from_pretrained`.
    """
    sys.path.insert(0, str(Path(__file__).parent))  # torch.hub takes the folder away again before this is called
    try:
        from detection import SPPDetector

        return SPPDetector.from_pretrained(name, **options)
    finally:
        sys.path.remove(str(Path(__file__).parent))
