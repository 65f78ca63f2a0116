"""Candidate windows of objects: selective search, EdgeBoxes, their measures and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["selective_search"]

if TYPE_CHECKING:
    from proposals.hierarchical_search import selective_search as selective_search


def __getattr__(name: str) -> Any:
    """Load the search, and its compiled kernels with it, on first use."""
    if name == "selective_search":
        from proposals.hierarchical_search import selective_search

        return selective_search
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
