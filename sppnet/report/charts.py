"""Shapes of the report's charts, as points and paths of SVG in a square of 100 units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
POINTS = 160  # of a curve: more do not show
BINS = 30
SIDE = 100.0


def curve(precision: ArrayLike, recall: ArrayLike) -> str:
    """Precision up over recall to the right, both 0..1, as points of a polyline; empty without a right detection.

    Of the points where recall rises, at most `POINTS` are kept: between them precision only falls.
    """
    p, r = np.asarray(precision, np.float64), np.asarray(recall, np.float64)
    rises = np.flatnonzero(np.diff(np.nan_to_num(r), prepend=0.0) > 0)
    if not len(rises):
        return ""
    kept = rises[np.unique(np.linspace(0, len(rises) - 1, POINTS).round().astype(int))]
    return _points(SIDE * r[kept], SIDE * (1 - p[kept]))


@dataclass(frozen=True)
class Histogram:
    """Scores of a class: right detections upwards, wrong ones downwards, each as tall as its fullest bin allows.

    Attributes:
        right: points of a polygon above the middle line, at 50; empty where there is none.
        wrong: likewise below it.
        n_right, n_wrong: how many there are.
    """

    right: str
    wrong: str
    n_right: int
    n_wrong: int


def histogram(right: ArrayLike, wrong: ArrayLike, limits: tuple[float, float]) -> Histogram:
    """Of the scores of right (R,) and wrong (W,) detections, from the least to the greatest of `limits`."""
    good, bad = np.asarray(right, np.float64), np.asarray(wrong, np.float64)
    return Histogram(_steps(good, limits, -1), _steps(bad, limits, 1), len(good), len(bad))


def place(score: float, limits: tuple[float, float]) -> float:
    """Where a score lies on the axis of a histogram, 0..100."""
    low, high = limits
    return SIDE * (score - low) / (high - low) if high > low else SIDE / 2


def limits_of(scores: Sequence[ArrayLike]) -> tuple[float, float]:
    """The least and the greatest of all scores; -1 and 1 where there is none, and never the same."""
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
    x = np.repeat([place(e, limits) for e in edges], 2)  # (2 BINS + 2,)
    heights = np.concatenate([[0.0], np.repeat(counts / counts.max(), 2), [0.0]])
    return _points(x, SIDE / 2 * (1 + direction * heights))


def _points(x: Floats, y: Floats) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
