"""From window scores to detections: threshold, non-maximum suppression, box regression.

Sources: spp_test.m, spp_test_bbox_regressor.m.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from detection import features
from detection.bbox_regression import BoxRegressors
from detection.boxes import clip, nms
from detection.config import TestConfig
from detection.detections import Detections
from detection.features import PlacedWindows
from detection.parallel import for_each_chunk


def select(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], test: TestConfig
) -> tuple[NDArray[np.int64], Detections]:
    """Apply the score threshold, non-maximum suppression and the limit of detections to each class.

    Args:
        boxes: float32 (R, 4), image pixels; windows of several models, concatenated, are suppressed together.
        scores: float32 (R, K).
        test: threshold, overlap and limit.

    Returns:
        int64 (N,), the windows that are kept, and the N detections, in the same order.
    """
    kept = [np.zeros(0, np.int64)] * scores.shape[1]

    def classes(first: int, stop: int) -> None:
        for k in range(first, stop):
            above = np.flatnonzero(scores[:, k] > test.score_threshold)
            kept[k] = above[nms(boxes[above], scores[above, k], test.nms_iou, test.max_per_image)]

    for_each_chunk(classes, len(kept))
    rows = np.concatenate(kept) if kept else np.zeros(0, np.int64)
    labels = np.repeat(np.arange(len(kept)), [len(r) for r in kept])
    return rows, Detections(boxes[rows], scores[rows, labels], labels)


def tighten(
    found: Detections, rows: NDArray[np.int64], windows: PlacedWindows, regression: BoxRegressors | None, iou: float
) -> Detections:
    """Replace the boxes of detections by the regressed ones and suppress again.

    Args:
        found: N detections, whose boxes are windows.
        rows: int64 (N,), the window of each detection.
        windows: all windows of the image.
        regression: regressors of all classes; None: the detections stay as they are.
        iou: overlap above which the better detection suppresses the other.
    """
    if regression is None:
        return found
    return suppress(replace(found, boxes=regress(found, rows, windows, regression)), iou)


def regress(
    found: Detections, rows: NDArray[np.int64], windows: PlacedWindows, regression: BoxRegressors
) -> NDArray[np.float32]:
    """Return the regressed boxes of detections, clipped to the image: float32 (N, 4); arguments as of `tighten`.

    The windows of the detections, few among all, are pooled again.
    """
    boxes = found.boxes.astype(np.float32, copy=False)
    if not len(rows):
        return boxes
    positions, which = np.unique(windows.group[rows], return_inverse=True)
    cells, dtype = windows.cells[positions], regression.fc.dtype_on(torch.device("cpu")) if regression.fc else None
    found_targets = features.apply_pooled(regression.targets, windows.pyramid, cells, windows.pooling, dtype)
    targets = found_targets[which]  # (N, P, 4)
    return clip(regression.apply(boxes, found.labels, targets), windows.pyramid.image_size).astype(np.float32)


def suppress(detections: Detections, iou: float) -> Detections:
    """Return the detections that no better one of their class overlaps by more than `iou`, in their order."""
    keep = np.zeros(len(detections), np.bool_)
    for k in np.unique(detections.labels):
        mine = np.flatnonzero(detections.labels == k)
        keep[mine[nms(detections.boxes[mine], detections.scores[mine], iou)]] = True
    return detections[keep]
