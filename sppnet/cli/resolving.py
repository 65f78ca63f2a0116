"""What commands over a run have in common."""

from __future__ import annotations

from typing import TypeVar

from sppnet.settings.shared import RunSettings

S = TypeVar("S", bound=RunSettings)


def resolve_run(settings: S) -> S:
    """Fill in the run folder and the splits that are used."""
    from sppnet.run import Run

    return Run.open(settings).resolved(settings)
