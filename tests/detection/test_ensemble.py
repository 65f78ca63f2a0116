"""Detection with one model and with several."""

from dataclasses import replace

import numpy as np
import pytest

from detection import features
from detection.boxes import iou, nms
from detection.config import PAPER
from detection.ensemble import Evidence, detect_windows
from tests.detection.conftest import SCALES, trained, windows


def test_regression_keeps_scores_clips_and_suppresses_again(body, photo):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    before, after = detect_windows(Evidence(pyramid, windows(200), trained(body)))
    assert len(after) <= len(before)
    assert set(after.scores) <= set(before.scores)
    assert after.boxes.min() >= 0
    assert (after.boxes.max(axis=0) <= [219, 149, 219, 149]).all()
    for k in (0, 1):
        assert not np.isin(after.boxes[after.labels == k], before.boxes).all()
        overlaps = iou(after.boxes[after.labels == k], after.boxes[after.labels == k])
        assert (overlaps[~np.eye(len(overlaps), dtype=bool)] <= 0.3).all()
    np.testing.assert_array_equal(after.boxes[after.labels == 2], before.boxes[before.labels == 2])  # has no regressor


def test_no_window_and_no_detection_are_ordinary_cases(body, photo):
    pyramid = features.compute_pyramid(photo, body, SCALES)
    nothing = np.zeros((0, 4), np.float32)
    assert [len(d) for d in detect_windows(Evidence(pyramid, nothing, trained(body)))] == [0, 0]
    picky = replace(trained(body), config=replace(PAPER, test=replace(PAPER.test, score_threshold=1e9)))
    assert [len(d) for d in detect_windows(Evidence(pyramid, windows(10), picky))] == [0, 0]


def test_suppression_runs_over_the_union_of_all_models_windows(body, photo):
    pyramid, boxes, one = features.compute_pyramid(photo, body, SCALES), windows(200), trained(body)
    weights, bias = one.svms.weights, one.svms.bias
    other = replace(one, svms=replace(one.svms, weights=weights[:, ::-1].copy(), bias=bias + 0.1), regressors=())
    alone = [Evidence(pyramid, boxes, m).scored() for m in (one, other)]
    before, after = detect_windows(Evidence(pyramid, boxes, one), Evidence(pyramid, boxes, other))
    for k in range(3):
        scores, everything = np.concatenate([s.scores[:, k] for s in alone]), np.concatenate([boxes, boxes])
        above = np.flatnonzero(scores > PAPER.test.score_threshold)
        kept = above[nms(everything[above], scores[above], 0.3)[:100]]
        np.testing.assert_array_equal(before.scores[before.labels == k], scores[kept])
        np.testing.assert_array_equal(before.boxes[before.labels == k], everything[kept])
    # boxes are regressed by the model they came from, so those of the second stay
    of_second = np.isin(after.scores, alone[1].scores) & ~np.isin(after.scores, alone[0].scores)
    assert of_second.any()
    assert all((b == boxes).all(axis=1).any() for b in after.boxes[of_second])
    of_first = np.isin(after.scores, alone[0].scores) & (after.labels < 2)
    assert of_first.any()
    assert not any((b == boxes).all(axis=1).any() for b in after.boxes[of_first])


def test_a_model_combined_with_itself_gives_the_same_boxes(body, photo):
    evidence = Evidence(features.compute_pyramid(photo, body, SCALES), windows(100), trained(body))
    for alone, twice in zip(detect_windows(evidence), detect_windows(evidence, evidence), strict=True):
        assert set(map(tuple, twice.boxes)) == set(map(tuple, alone.boxes))


def test_mean_combination_averages_scores_and_boxes(body, photo):
    pyramid, boxes, one = features.compute_pyramid(photo, body, SCALES), windows(200), trained(body)
    other = replace(one, svms=replace(one.svms, weights=one.svms.weights[:, ::-1].copy()))
    pair = [Evidence(pyramid, boxes, m) for m in (one, other)]
    scores = (pair[0].scored().scores + pair[1].scored().scores) / 2
    before, after = detect_windows(*pair, combine="mean")
    for k in range(3):
        above = np.flatnonzero(scores[:, k] > PAPER.test.score_threshold)
        kept = above[nms(boxes[above], scores[above, k], 0.3)[:100]]
        np.testing.assert_allclose(before.scores[before.labels == k], scores[kept, k], rtol=1e-6)
    twice = detect_windows(pair[0], pair[0], combine="mean")
    for mine, alone in zip(twice, detect_windows(pair[0]), strict=True):
        np.testing.assert_array_equal(mine.boxes, alone.boxes)
        np.testing.assert_array_equal(mine.scores, alone.scores)
    unmoved = replace(other, regressors=())
    half = detect_windows(pair[0], replace(pair[1], model=unmoved), combine="mean")[1]
    assert {tuple(b) for b in half.boxes} == {tuple(b) for b in after.boxes}


def test_mean_combination_needs_the_same_windows(body, photo):
    pyramid, one = features.compute_pyramid(photo, body, SCALES), trained(body)
    pair = [Evidence(pyramid, windows(20, seed), one) for seed in (0, 1)]
    with pytest.raises(ValueError, match="expects the same windows for all models"):
        detect_windows(*pair, combine="mean")
