"""Models of a run that are found finished, or of which parts are made anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detection.model import Model, load


def load_finished(folder: Path) -> Model:
    """Load a model that its training found in its place.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged; the message says how to replace it.
    """
    try:
        return load(folder)
    except ValueError as error:
        raise ValueError(f"{error}, with --overwrite, or in another --run") from error


@contextmanager
def saved_without(before: Model, without: Model, folder: Path) -> Iterator[None]:
    """Save a model without the part that is made anew, so that an interrupted command continues without --overwrite.

    If an error ends the work, the model is saved as it was before.

    Args:
        before: the model in the folder.
        without: the same without the part.
        folder: of the model.

    Raises:
        OSError: the folder cannot be written.
    """
    without.save(folder)
    try:
        yield
    except Exception:
        before.save(folder)
        raise
