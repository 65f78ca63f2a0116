"""What commands over a run have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from sppnet.settings.classifier import PhotoSettings
from sppnet.settings.shared import PathSettings, RunSettings

S = TypeVar("S", bound=RunSettings)
P = TypeVar("P", bound=PhotoSettings)
D = TypeVar("D", bound=PathSettings)


def resolve_run(settings: S) -> S:
    """Fill in the run folder and the splits that are used."""
    from sppnet.run import Run

    return Run.open(settings).resolved(settings)


def data_named_once(settings: D) -> D:
    """Take the data set from DATA or --data.

    Raises:
        ValueError: both are given.
    """
    if settings.path and settings.data:
        raise ValueError("name the data set once: DATA, or --data DATA")
    return replace(settings, data=settings.path or settings.data, path=None)


def resolve_classifier_run(settings: P) -> P:
    """Fill in the run folder that is used."""
    from sppnet.classifier.photos import run_folder

    return replace(settings, run=run_folder(settings))
