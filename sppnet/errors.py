"""Errors as people read them: one line that says what, where and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from data.names import listed, readable

R = TypeVar("R", bound="dict[str, Any] | None")
SHOWN = 3  # unusable files named in the last line; all are in the json report and were named before


class Incomplete(RuntimeError):
    """Part of the work could not be done; `result` holds what was done, if the report of the command does not."""

    def __init__(self, message: str, result: dict[str, Any] | None) -> None:
        super().__init__(message)
        self.result = result


class Abandoned(Incomplete):
    """The work is done as far as it goes, but a thread is still busy with something that nobody waits for."""


def complete(result: R, bad: Mapping[str, str], total: int) -> R:
    """Return the result if every file could be used.

    Args:
        result: what was done; None: what the report of the command holds.
        bad: file -> why it could not be used.
        total: number of files.

    Raises:
        Incomplete: some files could not be used.
    """
    if not bad:
        return result
    named = list(bad.values())
    raise Incomplete(f"{len(named)} of {total} files could not be used: {listed(named, SHOWN, '; ')}", result)


def one_line(error: BaseException) -> str:
    """The message of an error in one line; an operating system's error begins with the file."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.filename}: {error.strerror}"
    return readable(" ".join(text.split()))
