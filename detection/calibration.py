"""From margins to probabilities: how likely a detection is to be correct, and which detections are worth showing.

Margins are comparable within a class only. A logistic function per class turns them into the probability that a
detection overlaps an object of its class by 0.5 or more and no better detection does (Platt 1999). It is fitted to
detections on photos that the SVMs have not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection.plain_values import Limits, read

PRIOR = 20.0  # weight, in detections, of all classes together in the function of each class
LOWEST_THRESHOLD = 0.1  # nine of ten detections of a lower probability are wrong
REGULARIZATION = 1e3  # inverse strength in scikit-learn's terms; it only matters where margins separate perfectly
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Logistic functions of the margins of K classes, and the probabilities from which detections are shown.

    Attributes:
        slopes: K factors on the margin, positive.
        intercepts: K values.
        thresholds: K probabilities; detections of a class with this probability or more are shown, above 1 none.
    """

    slopes: tuple[Annotated[float, Limits(0, 1e9, above=True)], ...]
    intercepts: tuple[Annotated[float, Limits(-1e9, 1e9)], ...]
    thresholds: tuple[Annotated[float, Limits(0, 1e9)], ...]

    def probabilities(self, scores: ArrayLike, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the probability that each detection is correct: float32 (N,).

        Args:
            scores: (N,), margins.
            labels: int64 (N,), classes.
        """
        slopes, intercepts = np.array(self.slopes), np.array(self.intercepts)
        exponent = slopes[labels] * np.asarray(scores, np.float64) + intercepts[labels]
        return (1 / (1 + np.exp(-exponent.clip(-60, 60)))).astype(np.float32)

    def margins(self, probability: float | None = None) -> Floats:
        """Return the margin of each class that has a probability: float64 (K,).

        Args:
            probability: in (0, 1); None: the threshold of each class.
        """
        p = np.array(self.thresholds) if probability is None else np.full(len(self.slopes), probability)
        p = p.clip(1e-9, 1 - 1e-9)
        return (np.log(p / (1 - p)) - np.array(self.intercepts)) / np.array(self.slopes)

    def subset(self, labels: NDArray[np.int64]) -> Calibration:
        """Return the functions and thresholds of some classes, int64 (n,)."""
        return Calibration(*(tuple(values[k] for k in labels.tolist()) for values in vars(self).values()))

    def to_dict(self) -> dict[str, list[float]]:
        """Return plain values for JSON."""
        return {name: list(values) for name, values in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Any, n_classes: int) -> Calibration:
        """Inverse of `to_dict`.

        Raises:
            ValueError: the values are not those of `n_classes` classes; the line names the wrong one.
        """
        found: Calibration = read(cls, values, "calibration")
        found.check(n_classes)
        return found

    def check(self, n_classes: int) -> None:
        """Check that each of the three has a value for each of `n_classes` classes.

        Raises:
            ValueError: one has more or fewer.
        """
        for name, values in vars(self).items():
            if len(values) != n_classes:
                raise ValueError(f"calibration.{name}: expected values of {n_classes} classes, got {len(values)}")


def fit(scores: Sequence[ArrayLike], correct: Sequence[ArrayLike], n_objects: ArrayLike) -> Calibration | None:
    """Fit the function of each class to detections on photos that were not trained on.

    All classes together count as `PRIOR` detections in the function of each, so that classes with few detections
    follow the others.

    Args:
        scores: (N,) margins per class, K arrays.
        correct: bool (N,) per class, whether each detection is a true positive.
        n_objects: (K,), objects of each class, found or not.

    Returns:
        the functions, with the thresholds of `best_threshold`; None if no detection is correct or all are, so that
        nothing can be learned.
    """
    margins = [np.asarray(s, np.float64) for s in scores]
    right = [np.asarray(r, np.bool_) for r in correct]
    everything, answers = np.concatenate(margins), np.concatenate(right)
    if not len(answers) or answers.all() or not answers.any():
        return None
    slopes, intercepts = [], []
    own = np.repeat(np.arange(len(margins)), [len(m) for m in margins])
    for k in range(len(margins)):
        slope, intercept = _logistic(everything, answers, PRIOR / len(everything) + (own == k))
        slopes.append(slope)
        intercepts.append(intercept)
    curves = Calibration(tuple(slopes), tuple(intercepts), (0.5,) * len(slopes))
    thresholds = tuple(
        best_threshold(curves.probabilities(m, np.full(len(m), k)), r, int(n))
        for k, (m, r, n) in enumerate(zip(margins, right, np.asarray(n_objects), strict=True))
    )
    return Calibration(curves.slopes, curves.intercepts, thresholds)


def best_threshold(probabilities: ArrayLike, correct: ArrayLike, n_objects: int) -> float:
    """Return the probability from which showing detections gives the highest F1.

    For probabilities that are right, this is half of the highest F1 (Lipton, Elkan and Naryanaswamy 2014), which
    depends less on single detections than the place where F1 is highest. It is `LOWEST_THRESHOLD` or more, and 0.5 for
    a class without objects or detections.

    Args:
        probabilities: (N,).
        correct: bool (N,).
        n_objects: number of objects, found or not.
    """
    order = np.argsort(-np.asarray(probabilities), kind="stable")
    found = np.cumsum(np.asarray(correct, np.float64)[order])
    if not n_objects or not len(found):
        return 0.5
    f1 = 2 * found / (np.arange(1, len(found) + 1) + n_objects)
    return max(round(float(f1.max()) / 2, 4), LOWEST_THRESHOLD)


def expected_error(probabilities: ArrayLike, correct: ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error: the mean distance of probability and share of correct detections.

    Args:
        probabilities: (N,), in [0, 1].
        correct: bool (N,).
        bins: of equal width, weighted by the number of detections in each.

    Source: Naeini, Cooper and Hauskrecht (2015).
    """
    rows = reliability(probabilities, correct, bins)
    total = rows[:, 2].sum()
    return float((np.abs(rows[:, 0] - rows[:, 1]) * rows[:, 2]).sum() / total) if total else 0.0


def reliability(probabilities: ArrayLike, correct: ArrayLike, bins: int = 10) -> Floats:
    """Return mean probability, share of correct detections and number of detections of each bin: float64 (bins, 3).

    Arguments as of `expected_error`; empty bins are zero.
    """
    p, right = np.asarray(probabilities, np.float64), np.asarray(correct, np.float64)
    place = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = np.stack([np.bincount(place, v, minlength=bins) for v in (p, right)], axis=1)
    return np.column_stack([sums / np.maximum(count, 1)[:, None], count])


def _logistic(margins: Floats, correct: NDArray[np.bool_], weights: Floats) -> tuple[float, float]:
    """Return slope and intercept of a weighted logistic regression; the slope is positive."""
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    found = LogisticRegression(C=REGULARIZATION).fit(margins[:, None], correct, sample_weight=weights)
    return max(float(found.coef_[0, 0]), 1e-3), float(found.intercept_[0])
