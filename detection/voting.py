"""Box voting: every window of a class has a say in where the box of a detection lies.

Windows above the threshold are regressed before suppression, not after it. Each box that suppression keeps then becomes
the mean of the regressed boxes of its class that overlap it, weighted by their scores.

Source: Gidaris and Komodakis (2015), section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from detection.boxes import nms
from detection.config import TestConfig, VotingConfig
from detection.detections import Detections
from detection.parallel import for_each_chunk

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What models say about the windows of one image.

    Attributes:
        boxes: float32 (R, 4), the windows, image pixels.
        scores: float32 (R, K).
        regressed: returns the boxes of some windows, int64 (n,), regressed for a class and clipped to the image:
            float (n, 4).
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    regressed: Callable[[NDArray[np.int64], int], NDArray[np.floating]]


def vote(judgement: Judgement, test: TestConfig, voting: VotingConfig) -> Detections:
    """Regress, suppress and vote, class by class.

    Args:
        judgement: scores and regressed boxes of the windows of one image.
        test: threshold, overlap and limit.
        voting: constants of the vote.

    Returns:
        at most `test.max_per_image` detections per class, best first within a class. Scores are those of the kept
        windows.
    """
    found = [Detections.empty()] * judgement.scores.shape[1]

    def classes(first: int, stop: int) -> None:
        for k in range(first, stop):
            found[k] = _vote_class(judgement, k, test, voting)

    for_each_chunk(classes, len(found))
    return Detections.concatenate(found)


def _vote_class(judgement: Judgement, k: int, test: TestConfig, voting: VotingConfig) -> Detections:
    scores = judgement.scores[:, k]
    above = np.flatnonzero(scores > test.score_threshold)
    best = above[np.argsort(-scores[above], kind="stable")[: voting.windows]]
    boxes, scores = np.ascontiguousarray(judgement.regressed(best, k), np.float64), scores[best]
    kept = nms(boxes, scores, test.nms_iou, test.max_per_image)
    weights = np.exp(voting.sharpness * (scores - scores.max(initial=-np.inf)).astype(np.float64))
    voted = weighted_means(boxes, weights, kept, voting.iou)
    return Detections(voted.astype(np.float32), scores[kept], np.full(len(kept), k))


@numba.njit(cache=True, nogil=True)
def weighted_means(boxes: Floats, weights: Floats, kept: NDArray[np.int64], iou: float) -> Floats:
    """Return the weighted means of the boxes that overlap each kept box.

    Args:
        boxes: float64 (N, 4), xyxy, inclusive corners.
        weights: float64 (N,), positive.
        kept: int64 (M,), indices of boxes.
        iou: smallest overlap of a box that counts; the kept box itself always does.

    Returns:
        float64 (M, 4).
    """
    means = np.zeros((len(kept), 4))
    for m in range(len(kept)):
        x1, y1, x2, y2 = boxes[kept[m]]
        area = (x2 - x1 + 1) * (y2 - y1 + 1)
        total = 0.0
        for i in range(len(boxes)):
            w = min(x2, boxes[i, 2]) - max(x1, boxes[i, 0]) + 1
            h = min(y2, boxes[i, 3]) - max(y1, boxes[i, 1]) + 1
            other = (boxes[i, 2] - boxes[i, 0] + 1) * (boxes[i, 3] - boxes[i, 1] + 1)
            overlaps = w > 0 and h > 0 and w * h >= iou * (area + other - w * h)
            if overlaps or i == kept[m]:
                total += weights[i]
                means[m] += weights[i] * boxes[i]
        means[m] /= total
    return means
