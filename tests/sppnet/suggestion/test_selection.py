"""How unsure a detector is, and which photos are chosen."""

import numpy as np
import pytest

from detection.calibration import Calibration
from detection.detections import SHOWN_MARGIN, Detections
from sppnet.suggestion.selection import LEAST, k_centre, weights_of
from sppnet.suggestion.uncertainty import SLOPE, uncertainty_of

IDENTITY = Calibration((1.0,), (0.0,), (0.5,))  # the probability is the logistic function of the margin


def found(probabilities, calibration=IDENTITY):
    p = np.asarray(probabilities, np.float64)
    scores = np.log(p / (1 - p))
    return Detections(np.zeros((len(p), 4)), scores, np.zeros(len(p), np.int64), ("cat",), calibration=calibration)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [([], 0), ([0.5], 1), ([0.25], 0.25), ([0.75], 0.25), ([0.5, 0.25, 0.9], 1.29), ([0.999, 0.001], 8e-6)],
)
def test_uncertainty_is_the_sum_of_squared_margins_between_right_and_wrong(probabilities, expected):
    assert uncertainty_of(found(probabilities)) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_without_a_calibration_margins_are_squashed():
    def of(*margins):
        return uncertainty_of(Detections(np.zeros((len(margins), 4)), margins, np.zeros(len(margins), np.int64)))

    assert of(SHOWN_MARGIN) == pytest.approx(1)
    p = 1 / (1 + np.exp(-SLOPE * (0.1 - SHOWN_MARGIN)))
    assert of(0.1) == pytest.approx((1 - abs(2 * p - 1)) ** 2, rel=1e-4)
    assert of(1e9, -1e9) == pytest.approx(0, abs=1e-9)


def test_weights_are_half_way_at_the_typical_uncertainty_and_never_zero():
    expected = [LEAST, LEAST + (1 - LEAST) / 3, LEAST + (1 - LEAST) * 3 / 5]
    np.testing.assert_allclose(weights_of(np.array([0.0, 1.0, 3.0])), expected)
    assert set(weights_of(np.zeros(3))) == {LEAST}
    assert weights_of(np.zeros(0)).shape == (0,)


def units(rng, n, dimensions=5):
    rows = rng.normal(size=(n, dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def literal(vectors, count, weights, known):
    """Weighted greedy k-centre selection as its definition says, with at least one known photo."""
    centres, chosen = [*known.astype(np.float64)], []
    while len(chosen) < count:
        gains = {
            i: weights[i] * min(np.linalg.norm(vectors[i].astype(np.float64) - centre) for centre in centres)
            for i in range(len(vectors))
            if i not in chosen
        }
        chosen.append(max(gains, key=gains.get))
        centres.append(vectors[chosen[-1]].astype(np.float64))
    return chosen


@pytest.mark.parametrize("known", [1, 3, 300])
def test_the_choice_is_that_of_the_definition(known):
    rng = np.random.default_rng(known)
    vectors, weights, others = units(rng, 30), rng.uniform(0.1, 1, 30), units(rng, known)
    rows, distances = k_centre(vectors, 12, weights, others)
    assert rows.tolist() == literal(vectors, 12, weights, others)
    nearest = min(np.linalg.norm(vectors[rows[0]] - other) for other in others)
    assert distances[0] == pytest.approx(nearest, abs=1e-3)


NONE = np.zeros((0, 3), np.float32)
X, Y, Z = np.eye(3, dtype=np.float32)


def test_two_copies_are_not_both_chosen_before_another_photo():
    rows, distances = k_centre(np.stack([X, X, Y]), 3, np.array([1.0, 1.0, 0.1]), NONE)
    assert rows.tolist() in ([0, 2, 1], [1, 2, 0])
    np.testing.assert_allclose(distances, [np.inf, 2**0.5, 0])


def test_what_is_known_comes_last():
    rows, _ = k_centre(np.stack([X, Y, Z]), 3, np.ones(3), X[None])
    assert rows[-1] == 0


def test_the_first_one_is_the_most_important_and_among_equals_the_most_typical():
    vectors = np.stack([X, Y, Y, Z])
    assert k_centre(vectors, 1, np.array([1.0, 1, 1, 2]), NONE)[0].tolist() == [3]
    assert k_centre(vectors, 1, np.ones(4), NONE)[0].tolist() == [1]


@pytest.mark.parametrize(("photos", "count", "expected"), [(0, 3, []), (1, 3, [0]), (1, 1, [0])])
def test_all_photos_are_chosen_if_there_are_no_more(photos, count, expected):
    rows, distances = k_centre(np.repeat(X[None], photos, axis=0), count, np.ones(photos), NONE)
    assert rows.tolist() == expected
    assert len(distances) == len(expected)
