"""Test scores of classifiers: figures for json and lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


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

    def summary(self) -> dict[str, Any]:
        """Plain values for json."""
        return {"ap": self.ap, "mean_ap": float(np.nanmean(list(self.ap.values())))}

    def lines(self) -> Iterator[str]:
        """One line per class, then the mean."""
        yield from (f"{name:15s}{100 * value:6.1f}" for name, value in self.ap.items())
        yield f"{'mAP':15s}{100 * self.summary()['mean_ap']:6.1f}  {self.train} -> {self.test}"


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
