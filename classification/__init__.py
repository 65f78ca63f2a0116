"""SPP-net image classification (He, Zhang, Ren, Sun, 2014, sections 2 and 3): one spatial pyramid per whole photo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["SPPClassifier"]

if TYPE_CHECKING:
    from classification.classifier import SPPClassifier


def __getattr__(name: str) -> Any:
    """Load the classifier, and torch with it, on first use."""
    if name == "SPPClassifier":
        from classification.classifier import SPPClassifier

        return SPPClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
