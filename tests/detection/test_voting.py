"""Regression before suppression and box voting."""

from dataclasses import replace

import numpy as np

from detection import features
from detection.boxes import iou, mirror
from detection.config import PAPER, TestConfig, View, VotingConfig
from detection.detector import SPPDetector
from detection.ensemble import Evidence, detect_windows, judge
from detection.voting import Judgement, vote, weighted_means
from tests.detection.conftest import SCALES, trained, windows

VOTING = VotingConfig()


def test_means_are_those_of_the_overlapping_boxes():
    boxes = windows(200).astype(np.float64)
    weights = np.random.default_rng(2).random(200) + 0.1
    overlaps = iou(boxes, boxes) >= 0.4
    kept = np.argsort(-overlaps.sum(axis=1))[:3]
    assert overlaps[kept].sum() > 6
    found = weighted_means(boxes, weights, kept, 0.4)
    for m, voters in enumerate(overlaps[kept]):
        np.testing.assert_allclose(found[m], np.average(boxes[voters], axis=0, weights=weights[voters]))


def test_a_vote_keeps_the_best_scores_and_moves_boxes_between_their_voters():
    boxes = np.array([[10, 10, 49, 49], [12, 10, 51, 49], [100, 100, 120, 120]], np.float32)
    scores = np.array([[1.0], [0.5], [-0.2]], np.float32)
    found = vote(Judgement(boxes, scores, lambda rows, k: boxes[rows]), TestConfig(), VOTING)
    assert found.scores.tolist() == [1, np.float32(-0.2)]
    share = np.exp(-VOTING.sharpness * 0.5) / (1 + np.exp(-VOTING.sharpness * 0.5))
    np.testing.assert_allclose(found.boxes, [[10 + 2 * share, 10, 49 + 2 * share, 49], boxes[2]], rtol=1e-5)


def test_windows_below_the_threshold_and_beyond_the_limit_have_no_vote():
    boxes = np.array([[10, 10, 49, 49], [12, 10, 51, 49], [14, 10, 53, 49]], np.float32)
    judgement = Judgement(boxes, np.array([[1], [0.9], [-1.6]], np.float32), lambda rows, k: boxes[rows])
    assert 10 < vote(judgement, TestConfig(), VOTING).boxes[0, 0] < 11
    assert vote(judgement, TestConfig(), replace(VOTING, windows=1)).boxes[0, 0] == 10
    assert len(vote(judgement, TestConfig(score_threshold=2), VOTING)) == 0


def with_voting(model, **changes):
    test = replace(model.config.test, voting=replace(VOTING, **changes))
    return replace(model, config=replace(model.config, test=test))


def test_every_window_is_regressed_before_suppression(body, photo):
    pyramid, boxes, model = features.compute_pyramid(photo, body, SCALES), windows(200), with_voting(trained(body))
    judgement = judge(Evidence(pyramid, boxes, model))
    pool5 = features.place(pyramid, boxes, PAPER.pooling.__class__(scales=SCALES))
    targets = model.regression.targets(pool5.rows(slice(None))[pool5.group])
    expected = model.regression.apply(boxes, np.ones(200, np.int64), targets).clip(0, [219, 149, 219, 149])
    np.testing.assert_allclose(judgement.regressed(np.arange(200), 1), expected, atol=1e-3)
    np.testing.assert_array_equal(judgement.regressed(np.arange(200), 2), boxes)  # the class has no regressor
    before, after = detect_windows(Evidence(pyramid, boxes, model))
    assert len(before) > 0
    assert len(after) > 0
    assert after.boxes.min() >= 0


def test_a_model_without_regressors_votes_with_its_windows(body, photo, caplog):
    trained(body).with_inference("fast")
    assert not caplog.text
    trained(body, regressors=False).with_inference("fast")
    assert "inference fast: the model has no box regressors, so windows vote as they are" in caplog.text
    pyramid, boxes = features.compute_pyramid(photo, body, SCALES), windows(200)
    judgement = judge(Evidence(pyramid, boxes, with_voting(trained(body, regressors=False))))
    np.testing.assert_array_equal(judgement.regressed(np.arange(5), 0), boxes[:5])


def test_mirrored_evidence_gives_a_mirrored_photo_the_mirrored_answer(body, photo):
    boxes, model = windows(50), with_voting(trained(body))
    pyramids = [[features.compute_pyramid(p, body, SCALES, m) for m in (False, True)] for p in (photo, photo[:, ::-1])]
    one, two = (
        judge(Evidence(first, b, model, others=others))
        for (first, *others), b in zip(pyramids, (boxes, mirror(boxes, 220)), strict=True)
    )
    alone = judge(Evidence(pyramids[0][0], boxes, model))
    np.testing.assert_allclose(one.scores, two.scores, rtol=1e-5, atol=1e-5)
    assert not np.allclose(one.scores, alone.scores, atol=1e-3)
    rows = np.arange(50)
    np.testing.assert_allclose(one.regressed(rows, 0), mirror(two.regressed(rows, 0), 220), atol=1e-3)


def test_scores_and_targets_are_means_over_the_views(body, photo):
    boxes, model = windows(50), with_voting(trained(body, regressors=False))
    pyramids = [features.compute_pyramid(photo, body, [side]) for side in (150, 180, 240)]
    alone = [judge(Evidence(p, boxes, model)).scores for p in pyramids]
    together = judge(Evidence(pyramids[0], boxes, model, others=pyramids[1:])).scores
    np.testing.assert_allclose(together, np.mean(alone, axis=0), rtol=1e-5, atol=1e-5)


def test_windows_that_no_class_ranks_high_are_dropped_after_the_first_view(body, photo):
    boxes, model = windows(50), with_voting(trained(body), looked_at_again=8)
    first, other = (features.compute_pyramid(photo, body, [side]) for side in (150, 240))
    alone = judge(Evidence(first, boxes, model)).scores
    everything = judge(Evidence(first, boxes, with_voting(trained(body)), others=[other])).scores
    scores = judge(Evidence(first, boxes, model, others=[other])).scores
    high = np.unique(np.argsort(-alone, axis=0)[:8])
    assert 8 <= len(high) <= 24
    np.testing.assert_allclose(scores[high], everything[high], rtol=1e-5)
    assert (np.delete(scores, high, axis=0) == -np.inf).all()
    assert np.isfinite(alone).all()


def test_a_detector_takes_the_views_that_its_model_states(body, photo):
    views = (View(0.75), View(1.25, mirror=True))
    model, boxes = with_voting(trained(body), views=views), windows(80)
    model = replace(model, notes={"category_ids": [5, 90, 17]})
    found = SPPDetector(body, model).detect(photo, boxes)
    assert (found.classes, tuple(found.category_ids), found.photo is photo) == (("a", "b", "c"), (5, 90, 17), True)
    first, other = (features.compute_pyramid(photo, body, v.scales(SCALES), v.mirror) for v in views)
    expected = detect_windows(Evidence(first, boxes, model, others=[other]))[1]
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.boxes, expected.boxes)


def test_models_vote_together(body, photo):
    pyramid, boxes, one = features.compute_pyramid(photo, body, SCALES), windows(150), with_voting(trained(body))
    other = replace(one, svms=replace(one.svms, weights=one.svms.weights[:, ::-1].copy()), regressors=())
    pair = [Evidence(pyramid, boxes, m) for m in (one, other)]
    alone = [e.judgement() for e in pair]
    rows = np.arange(150)
    mean = judge(*pair, combine="mean")
    np.testing.assert_allclose(mean.scores, (alone[0].scores + alone[1].scores) / 2, rtol=1e-6)
    np.testing.assert_allclose(mean.regressed(rows, 0), (alone[0].regressed(rows, 0) + boxes) / 2)
    union = judge(*pair, combine="union")
    assert union.scores.shape == (300, 3)
    mixed = np.array([5, 155, 299])
    expected = [alone[0].regressed(mixed[:1], 0)[0], boxes[5], boxes[149]]
    np.testing.assert_allclose(union.regressed(mixed, 0), expected)
