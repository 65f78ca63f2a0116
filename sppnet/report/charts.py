"""Charts of the report, as points of SVG polylines and polygons in a square of 100 x 100 units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection import calibration

Floats = NDArray[np.float64]
MAX_POINTS = 160  # per curve; more would not be visible
BINS = 30
SIDE = 100.0


def curve(precision: ArrayLike, recall: ArrayLike) -> str:
    """Return the precision-recall curve as points of a polyline, recall to the right, precision upwards.

    Only points where recall rises are kept, at most `MAX_POINTS`; between them precision only falls.

    Args:
        precision, recall: (N,) values in [0, 1], in order of falling score.

    Returns:
        the points; empty if no detection is correct.
    """
    p, r = np.asarray(precision, np.float64), np.asarray(recall, np.float64)
    rises = np.flatnonzero(np.diff(np.nan_to_num(r), prepend=0.0) > 0)
    if not len(rises):
        return ""
    kept = rises[np.unique(np.linspace(0, len(rises) - 1, MAX_POINTS).round().astype(int))]
    return _points(SIDE * r[kept], SIDE * (1 - p[kept]))


@dataclass(frozen=True)
class Histogram:
    """Scores of one class: correct detections above the middle line at 50, wrong ones below it.

    Attributes:
        correct: points of the polygon above the line, scaled so that its fullest bin reaches the edge; empty if there
            are no correct detections.
        wrong: the same below the line, with a scale of its own.
        n_correct, n_wrong: numbers of detections.
    """

    correct: str
    wrong: str
    n_correct: int
    n_wrong: int


def histogram(correct: ArrayLike, wrong: ArrayLike, limits: tuple[float, float]) -> Histogram:
    """Return the histogram of the scores of correct (R,) and wrong (W,) detections.

    Args:
        correct, wrong: scores.
        limits: lowest and highest score of the axis.
    """
    good, bad = np.asarray(correct, np.float64), np.asarray(wrong, np.float64)
    return Histogram(_steps(good, limits, -1), _steps(bad, limits, 1), len(good), len(bad))


@dataclass(frozen=True)
class Reliability:
    """Share of correct detections by stated probability.

    Attributes:
        bars: left edge and height of each bin that has detections, and their number.
        width: of a bin.
        error: expected calibration error, in [0, 1].
        count: number of detections.
        lowest: probability from which they are counted.
    """

    bars: list[tuple[float, float, int]]
    width: float
    error: float
    count: int
    lowest: float


def reliability(probabilities: ArrayLike, correct: ArrayLike, lowest: float = 0.0) -> Reliability:
    """Return the reliability diagram of detections: probability to the right, share of correct ones upwards.

    Args:
        probabilities: (N,), in [0, 1].
        correct: bool (N,).
        lowest: probability that all of them have at least.
    """
    rows = calibration.reliability(probabilities, correct)
    width = SIDE / len(rows)
    bars = [(i * width, SIDE * share, int(count)) for i, (_, share, count) in enumerate(rows.tolist()) if count]
    error = calibration.expected_error(probabilities, correct)
    return Reliability(bars, width, error, int(rows[:, 2].sum()), lowest)


def position(score: float, limits: tuple[float, float]) -> float:
    """Return the position of a score on the axis of a histogram, 0 to 100."""
    low, high = limits
    return SIDE * (score - low) / (high - low) if high > low else SIDE / 2


def score_limits(scores: Sequence[ArrayLike]) -> tuple[float, float]:
    """Return the lowest and the highest finite score; always two different numbers, -1 and 1 without scores."""
    every = np.concatenate([np.zeros(0), *(np.asarray(s, np.float64) for s in scores)])
    every = every[np.isfinite(every)]
    if not len(every):
        return -1.0, 1.0
    low, high = float(every.min()), float(every.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _steps(scores: Floats, limits: tuple[float, float], direction: int) -> str:
    counts, edges = np.histogram(scores, BINS, limits)
    if not counts.any():
        return ""
    x = np.repeat([position(e, limits) for e in edges], 2)  # (2 BINS + 2,)
    heights = np.concatenate([[0.0], np.repeat(counts / counts.max(), 2), [0.0]])
    return _points(x, SIDE / 2 * (1 + direction * heights))


def _points(x: Floats, y: Floats) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
