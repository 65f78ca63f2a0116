"""Test scores of classifiers: figures for json and lines for people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sppnet.text import NOT_AVAILABLE, percent


@dataclass(frozen=True)
class PrecisionScores:
    """Average precisions, for photos that may show several classes; the protocol of VOC 2007.

    Attributes:
        ap: class -> average precision in [0, 1]; nan for a class that no test photo shows.
        train, test: names of the training and test photos.
    """

    ap: dict[str, float]
    train: str
    test: str

    @property
    def mean_ap(self) -> float:
        """Mean over the classes that a test photo shows; nan if there are none."""
        known = [value for value in self.ap.values() if not math.isnan(value)]
        return float(np.mean(known)) if known else math.nan

    def summary(self) -> dict[str, Any]:
        """Plain values for json; nan becomes None."""
        return {"ap": {name: _or_none(value) for name, value in self.ap.items()}, "mean_ap": _or_none(self.mean_ap)}

    def lines(self) -> Iterator[str]:
        """One line per class, then the mean."""
        yield from (f"{name:15s}{percent(value, unknown=NOT_AVAILABLE):>6s}" for name, value in self.ap.items())
        yield f"{'mAP':15s}{percent(self.mean_ap, unknown=NOT_AVAILABLE):>6s}  {self.train} -> {self.test}"


@dataclass(frozen=True)
class SplitScores:
    """Accuracies on the photos of a test folder.

    Attributes:
        accuracy: share of the photos that are classified right, in [0, 1].
        mean_class_accuracy: mean over the classes of that share, in [0, 1].
        photos: number of test photos.
    """

    accuracy: float
    mean_class_accuracy: float
    photos: int

    def summary(self) -> dict[str, Any]:
        """Plain values for json."""
        return {"accuracy": self.accuracy, "mean_class_accuracy": self.mean_class_accuracy}

    def lines(self) -> Iterator[str]:
        """One line."""
        mean = f"mean over the classes {100 * self.mean_class_accuracy:.1f} %"
        yield f"{100 * self.accuracy:.1f} % of {self.photos} test photos right, {mean}"


@dataclass(frozen=True)
class DivisionScores:
    """Accuracies over random divisions into training and test photos; the protocol of Caltech-101.

    Attributes:
        accuracies: of each division, the mean over the classes of the share of photos that are classified right.
    """

    accuracies: list[float]

    def summary(self) -> dict[str, Any]:
        """Plain values for json; the deviation of a single division is 0."""
        deviation = float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else 0.0
        return {"accuracies": self.accuracies, "mean": float(np.mean(self.accuracies)), "deviation": deviation}

    def lines(self) -> Iterator[str]:
        """One line."""
        s = self.summary()
        figures = f"{100 * s['mean']:.2f} +- {100 * s['deviation']:.2f} %"
        yield f"{figures} mean accuracy per class, {len(self.accuracies)} random divisions"


Scores = PrecisionScores | SplitScores | DivisionScores


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
