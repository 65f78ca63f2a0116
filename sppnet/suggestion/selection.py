"""Greedy choice of photos that are important and unlike each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST = 0.1
"""Weight of a photo that a detector is sure of. The most uncertain ones have nearly 1; it is not 0, so that photos in
which the detector overlooks everything are chosen too, if they look new."""

_ROWS = 256  # known photos that are compared at once

Floats = NDArray[np.float64]


def weights_of(uncertainties: Floats) -> Floats:
    """Return the weight of each photo in `k_centre`: `LEAST` to 1, half-way where an uncertainty is typical.

    Args:
        uncertainties: (N,), 0 or more. The median of those above 0 is typical.
    """
    unsure = uncertainties[uncertainties > 0]
    typical = np.median(unsure) if len(unsure) else 1.0
    return LEAST + (1 - LEAST) * uncertainties / (uncertainties + typical)


def k_centre(
    vectors: NDArray[np.float32], count: int, weights: Floats, known: NDArray[np.float32]
) -> tuple[NDArray[np.int64], Floats]:
    """Choose photos one after the other, each with the largest product of weight and distance to the nearest photo
    that is known or chosen before: greedy k-centre selection (Gonzalez 1985; Sener and Savarese, ICLR 2018), weighted.

    Without known photos the first one is that of the largest weight, and of several the most typical.

    Args:
        vectors: float32 (N, C), what each photo looks like, of length 1.
        count: how many to choose; all N if there are fewer.
        weights: (N,), positive.
        known: float32 (M, C), those of photos that need not be chosen.

    Returns:
        int64 (n,), rows of the chosen photos, best first; and (n,), their distances, 0 to 2, when they were chosen,
        infinity for the first one without known photos.
    """
    nearest = np.full(len(vectors), np.inf)
    for start in range(0, len(known), _ROWS):
        nearest = np.minimum(nearest, _distances(vectors, known[start : start + _ROWS]).min(axis=1))
    left = np.ones(len(vectors), np.bool_)
    chosen: list[int] = []
    distances: list[float] = []
    while len(chosen) < min(count, len(vectors)):
        first = not len(known) and not chosen
        gains = np.where(left, weights * (1 if first else nearest), -1)
        best = _most_typical(vectors, np.flatnonzero(gains == gains.max())) if first else int(gains.argmax())
        chosen.append(best)
        distances.append(float(nearest[best]))
        left[best] = False
        nearest = np.minimum(nearest, _distances(vectors, vectors[[best]])[:, 0])
    return np.array(chosen, np.int64), np.array(distances)


def _distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> Floats:
    """Euclidean distances of vectors of length 1: (N, M)."""
    cosines = a.astype(np.float64) @ b.T.astype(np.float64)
    return np.sqrt((2 - 2 * cosines).clip(0))


def _most_typical(vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> int:
    """The row, of some, whose vector is nearest to the mean of all."""
    return int(rows[(vectors[rows] @ vectors.mean(axis=0)).argmax()])
