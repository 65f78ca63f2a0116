"""The error that becomes an HTTP answer."""

from __future__ import annotations


class RequestRefused(RuntimeError):
    """A request that gets no detections.

    Args:
        status: HTTP status code.
        message: one sentence for people.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
