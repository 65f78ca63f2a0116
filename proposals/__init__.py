"""Object proposals: image -> candidate boxes, best first."""

from proposals.selective_search import selective_search

__all__ = ["selective_search"]
