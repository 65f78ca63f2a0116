import numpy as np
import pytest

from detection import calibration
from detection.calibration import Calibration, best_threshold, expected_error, fit, reliability


def detections(slope, intercept, n=4000, seed=0):
    rng = np.random.default_rng(seed)
    margins = rng.normal(-0.5, 0.8, n)
    return margins, rng.random(n) < 1 / (1 + np.exp(-(slope * margins + intercept)))


def test_probabilities_are_the_shares_of_correct_detections():
    kinds = {0: (3.0, 1.0), 1: (1.5, -2.0)}
    scores, correct = zip(*(detections(*kind, seed=k) for k, kind in kinds.items()), strict=True)
    found = fit(scores, correct, [c.sum() for c in correct])
    for k, (slope, intercept) in kinds.items():
        assert found.slopes[k] == pytest.approx(slope, rel=0.15)
        assert found.intercepts[k] == pytest.approx(intercept, abs=0.2)
        margins, right = detections(slope, intercept, seed=10 + k)
        p = found.probabilities(margins, np.full(len(margins), k))
        assert p.dtype == np.float32
        assert expected_error(p, right) < 0.02


def test_a_class_without_detections_follows_the_others():
    margins, right = detections(2.0, 0.5)
    found = fit([margins, [], [0.3]], [right, [], [True]], [right.sum(), 5, 1])
    assert found.slopes[1] == pytest.approx(found.slopes[0], rel=0.05)
    assert found.thresholds[1] == 0.5
    assert found.intercepts[2] > found.intercepts[1]  # its one detection was correct


def test_where_nothing_can_be_learned_there_is_no_calibration():
    assert fit([[]], [[]], [3]) is None
    assert fit([[0.1, 0.2]], [[True, True]], [3]) is None
    assert fit([[0.1, 0.2]], [[False, False]], [3]) is None


def test_perfectly_separated_margins_have_finite_functions():
    found = fit([[-1.0, -0.9, 0.9, 1.0]], [[False, False, True, True]], [2])
    p = found.probabilities([-1.0, 1.0], np.zeros(2, np.int64))
    assert np.isfinite(found.slopes).all()
    assert p[0] < 0.1
    assert p[1] > 0.9


def test_the_threshold_is_half_of_the_highest_f1_and_close_to_where_it_lies():
    margins, right = detections(3.0, 0.0, n=20_000)
    p = 1 / (1 + np.exp(-3 * margins))
    threshold = best_threshold(p, right, int(right.sum()))

    def f1(at):
        shown = p >= at
        return 2 * (right & shown).sum() / (shown.sum() + right.sum())

    best = max(f1(at) for at in np.linspace(0.01, 0.99, 99))
    assert threshold == pytest.approx(best / 2, abs=0.005)
    assert f1(threshold) > best - 0.005
    assert best_threshold([], [], 4) == best_threshold([0.3], [False], 0) == 0.5
    assert best_threshold([0.3], [False], 4) == calibration.LOWEST_THRESHOLD


def test_margins_are_the_inverse_of_probabilities():
    found = Calibration((2.0, 0.5), (1.0, -1.0), (0.3, 0.6))
    np.testing.assert_allclose(found.probabilities(found.margins(), np.arange(2)), [0.3, 0.6], atol=1e-6)
    np.testing.assert_allclose(found.probabilities(found.margins(0.9), np.arange(2)), [0.9, 0.9], atol=1e-6)


def test_reliability_counts_each_detection_in_its_bin():
    rows = reliability([0.05, 0.15, 0.15, 1.0], [False, True, False, True])
    assert rows[:, 2].tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    np.testing.assert_allclose(rows[1, :2], [0.15, 0.5])
    assert expected_error([0.05, 0.15, 0.15, 1.0], [False, True, False, True]) == pytest.approx((0.05 + 0.7) / 4)
    assert expected_error([], []) == 0


def test_a_calibration_is_restored_from_plain_values_and_others_are_refused():
    found = Calibration((2.0, 0.5), (1.0, -1.0), (0.3, 0.6))
    assert Calibration.from_dict(found.to_dict(), 2) == found
    wrong = [{}, {"slopes": 5}, {**found.to_dict(), "slopes": [1.0]}, {**found.to_dict(), "slopes": [0.0, 1.0]}]
    for values in wrong:
        with pytest.raises(ValueError, match=r"calibration(\.\w+(\[0\])?)?: expected"):
            Calibration.from_dict(values, 2)
    with pytest.raises(ValueError, match=r"calibration\.slopes: expected values of 3 classes, got 2"):
        Calibration.from_dict(found.to_dict(), 3)


def test_the_weight_of_all_classes_is_bounded():
    margins, right = detections(2.0, 0.5, n=50_000)
    few = fit([margins, np.linspace(-1, 1, 400)], [right, np.linspace(-1, 1, 400) > -0.5], [right.sum(), 300])
    assert few.probabilities([-0.4], np.array([1]))[0] > 0.6 > few.probabilities([-0.4], np.array([0]))[0]
    assert calibration.PRIOR < 100
