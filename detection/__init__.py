"""SPP-net object detection (He, Zhang, Ren, Sun, 2014): one convolution pass, pooled windows, SVM scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["SPPDetector"]

if TYPE_CHECKING:
    from detection.detector import SPPDetector


def __getattr__(name: str) -> Any:
    """Import the detector, and torch with it, on first use."""
    if name == "SPPDetector":
        from detection.detector import SPPDetector

        return SPPDetector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
