"""Threshold, suppression and regression of the windows of one image."""

from dataclasses import replace

import numpy as np

from detection import features, postprocessing
from detection.boxes import iou
from detection.config import PAPER
from detection.detections import Detections
from tests.detection.conftest import SCALES, trained, windows


def test_selection_applies_threshold_suppression_and_limit(body, photo):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    boxes = windows(200)
    scores = features.place(pyramid, boxes, PAPER.pooling).scores(trained(body).svms.scores)
    threshold = float(scores.max(axis=0).min()) - 0.01
    test = replace(PAPER.test, score_threshold=threshold, max_per_image=7)
    rows, found = postprocessing.select(boxes, scores, test)
    for k in range(3):
        mine = found.labels == k
        assert 0 < mine.sum() <= 7
        assert (found.scores[mine] > threshold).all()
        assert found.scores[mine].max() == scores[:, k].max()
        overlaps = iou(found.boxes[mine], found.boxes[mine])
        assert (overlaps[~np.eye(mine.sum(), dtype=bool)] <= 0.3).all()
    np.testing.assert_array_equal(found.boxes, boxes[rows])


def test_detections_without_regressors_stay_as_they_are():
    found = Detections(windows(3), np.ones(3), np.zeros(3, np.int64))
    assert postprocessing.tighten(found, np.arange(3), None, None, 0.3) is found


def test_suppression_keeps_the_best_of_each_class_in_order():
    boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 8], [0, 0, 9, 9], [30, 30, 50, 50]], np.float32)
    found = Detections(boxes, np.array([1, 2, 0, 3], np.float32), np.array([0, 0, 1, 0]))
    assert postprocessing.suppress(found, 0.3).scores.tolist() == [2, 0, 3]
