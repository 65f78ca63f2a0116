"""How unsure a detector is about a photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detection.detections import SHOWN_MARGIN, Detections

SLOPE = 5.0
"""Of the logistic function that stands in for a missing calibration: margins of -1 and 0, on either side of
`SHOWN_MARGIN`, become 0.08 and 0.92."""


def uncertainty_of(found: Detections) -> float:
    """Return how unsure a detector is about a photo, 0 or more.

    This is the sum over all detections of (1 - |p - (1 - p)|)^2, where p is the probability that a detection is right
    and 1 - p that it is wrong: 1 for p = 0.5, next to nothing for p below 0.1 or above 0.9. It is the 1-vs-2 margin
    criterion with the sum of Brust, Käding and Denzler, "Active Learning for Deep Object Detection", VISAPP 2019, for
    the two outcomes of one detection.

    Args:
        found: all detections of the photo, however unlikely. Without a calibration, a logistic function of the margins
            takes the place of probabilities.
    """
    stated = found.probabilities
    p = _squashed(found.scores) if stated is None else stated.astype(np.float64)
    return float(((1 - np.abs(2 * p - 1)) ** 2).sum())


def _squashed(margins: NDArray[np.floating]) -> NDArray[np.float64]:
    exponent = SLOPE * (np.asarray(margins, np.float64) - SHOWN_MARGIN)
    return 1 / (1 + np.exp(-exponent.clip(-60, 60)))
