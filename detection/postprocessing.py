"""From window scores to detections (spp_test.m, spp_test_bbox_regressor.m)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection import features
from detection.bbox_regression import BoxRegressors
from detection.boxes import clip, nms
from detection.config import PoolingConfig, TestConfig
from detection.detections import Detections
from detection.features import Cells, FeaturePyramid
from detection.networks.fc_head import FcFeatures
from detection.networks.softmax import SoftmaxClassifier
from detection.parallel import for_each_chunk
from detection.svm import LinearDetectors


@dataclass(frozen=True, eq=False)
class ScoredWindows:
    """The windows of one image with their scores.

    Attributes:
        boxes: float32 (R, 4), image pixels.
        scores: float32 (R, K).
        pyramid: maps of the image.
        cells: U different places of windows on it.
        group: int64 (R,), which of them each window has.
        levels: of the pyramid pooling.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    pyramid: FeaturePyramid
    cells: Cells
    group: NDArray[np.int64]
    levels: tuple[int, ...]


def score_windows(
    pyramid: FeaturePyramid,
    boxes: NDArray[np.float32],
    svms: LinearDetectors | SoftmaxClassifier,
    pooling: PoolingConfig,
    fc: FcFeatures | None = None,
) -> ScoredWindows:
    """Pool and score every window, windows on the same cells once; with `fc`, by those layers' features.

    pool5 of all windows is never held: the few that are regressed are pooled again.
    """
    cells, group = features.locate(pyramid, boxes, pooling).unique()
    if not len(boxes):
        return ScoredWindows(boxes, np.zeros((0, svms.n_classes), np.float32), pyramid, cells, group, pooling.levels)
    different = features.score_pooled(svms.scores, fc, pyramid, cells, pooling.levels)
    return ScoredWindows(boxes, different[group], pyramid, cells, group, pooling.levels)


def select(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], test: TestConfig
) -> tuple[NDArray[np.int64], Detections]:
    """Threshold, non-maximum suppression and the cap, class by class.

    Args:
        boxes: float32 (R, 4), image pixels; those of several models one after the other are suppressed together.
        scores: float32 (R, K).
        test: threshold, overlap and cap.

    Returns:
        int64 (N,), the windows kept, and the detections they are, in the same order.
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
    windows: ScoredWindows, rows: NDArray[np.int64], labels: NDArray[np.int64], regression: BoxRegressors
) -> NDArray[np.float32]:
    """Regress the boxes of detections and clip them to the image: float32 (N, 4).

    Args:
        windows: of the image.
        rows: int64 (N,), the window of each detection.
        labels: int64 (N,), its class.
        regression: of all classes.
    """
    boxes = windows.boxes[rows]
    if not len(rows):
        return boxes
    places, which = np.unique(windows.group[rows], return_inverse=True)
    targets = features.apply_pooled(regression.targets, windows.pyramid, windows.cells[places], windows.levels)[which]
    return clip(regression.apply(boxes, labels, targets), windows.pyramid.image_size).astype(np.float32)


def suppress(detections: Detections, iou: float) -> Detections:
    """Of each class the detections that no better one overlaps by more than `iou`, in the order they have."""
    keep = np.zeros(len(detections), np.bool_)
    for k in np.unique(detections.labels):
        mine = np.flatnonzero(detections.labels == k)
        keep[mine[nms(detections.boxes[mine], detections.scores[mine], iou)]] = True
    return detections[keep]
