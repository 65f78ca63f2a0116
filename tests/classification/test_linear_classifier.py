"""Linear classifiers and their metrics."""

import numpy as np
import pytest
import torch

from classification import evaluation, linear_classifier
from data.class_folders import one_class


def problem(n=60, d=200, k=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    rows = rng.normal(size=(n, d)) + 1.2 * rng.normal(size=(k, d))[labels]
    return rows.astype(np.float32), labels


@pytest.mark.parametrize("cost", [0.1, 10.0])
def test_both_solvers_find_the_same_svms(cost):
    rows, labels = problem()
    rows, truth = linear_classifier.normalized(rows), one_class(labels, 3)
    a, b = (
        linear_classifier._fit_by_gram_matrix(rows, truth, cost, 0),
        linear_classifier._fit_by_rows(rows, truth, cost, 0),
    )
    assert np.allclose(a(rows), b(rows), atol=0.03)  # liblinear's bias is regularised a little
    assert (a(rows).argmax(axis=1) == b(rows).argmax(axis=1)).mean() > 0.97


def test_many_short_vectors_are_trained_on_rows_and_others_on_the_gram_matrix(monkeypatch):
    called = []
    monkeypatch.setattr(linear_classifier, "_fit_by_gram_matrix", lambda *a: called.append("gram"))
    monkeypatch.setattr(linear_classifier, "_fit_by_rows", lambda *a: called.append("rows"))
    for d, most in ((200, 50), (20, 50), (20, 60)):
        monkeypatch.setattr(linear_classifier, "MAX_GRAM_ROWS", most)
        rows, labels = problem(d=d)
        linear_classifier.fit(rows, one_class(labels, 3))
    assert called == ["gram", "rows", "gram"]


@pytest.mark.parametrize(("d", "most"), [(200, 0), (20, 0), (20, 10_000)])
def test_svms_separate_the_classes_at_any_vector_length(d, most, monkeypatch):
    monkeypatch.setattr(linear_classifier, "MAX_GRAM_ROWS", most)
    rows, labels = problem(d=d)
    svms = linear_classifier.fit(rows, one_class(labels, 3))
    assert (svms(7 * rows).argmax(axis=1) == labels).mean() > 0.95
    assert svms(rows).dtype == np.float32


def test_svms_score_the_mean_of_views_and_softmax_averages_probabilities():
    rows, labels = problem()
    svms = linear_classifier.fit(rows, one_class(labels, 3))
    views = np.array([1, 9], np.float32)[:, None] * rows[:2]  # of different lengths
    assert np.allclose(svms.score_views(views), svms(views.sum(axis=0, keepdims=True))[0], atol=1e-6)
    assert not np.allclose(svms.score_views(views), svms(views).mean(axis=0), atol=1e-2)
    softmax = linear_classifier.LinearClassifier(svms.weights, svms.bias, "softmax")
    assert np.allclose(softmax.score_views(views), softmax(views).mean(axis=0))


def test_photos_marked_0_for_a_class_do_not_train_it():
    rows, labels = problem()
    truth = one_class(labels, 3)
    doubtful = truth.copy()
    doubtful[:20, 0] = 0
    expected = linear_classifier.fit(rows[20:], truth[20:])
    found = linear_classifier.fit(rows, doubtful)
    assert np.allclose(found.weights[0], expected.weights[0], atol=1e-4)
    assert not np.allclose(found.weights[1], expected.weights[1], atol=1e-4)


def test_a_class_without_a_photo_is_named_in_the_error():
    rows, labels = problem()
    with pytest.raises(ValueError, match="class 3 is in 0 of 60 photos"):
        linear_classifier.fit(rows, one_class(labels, 4))


def test_softmax_matches_torch_on_unscaled_vectors():
    rng = np.random.default_rng(0)
    rows, weights, bias = (rng.normal(size=s).astype(np.float32) * 9 for s in ((5, 8), (3, 8), (3,)))
    found = linear_classifier.LinearClassifier(weights, bias, "softmax")(rows)
    expected = torch.nn.functional.linear(*map(torch.from_numpy, (rows, weights, bias))).softmax(1).numpy()
    assert np.allclose(found, expected, atol=1e-6)
    assert np.isfinite(linear_classifier.LinearClassifier(weights * 1e4, bias, "softmax")(rows)).all()


def test_zero_vectors_stay_zero_and_others_get_length_1():
    rows = linear_classifier.normalized(np.array([[3, 4], [0, 0], [1e-20, 0]], np.float32))
    assert np.allclose(rows, [[0.6, 0.8], [0, 0], [1, 0]])


SCORES = np.array([[0.9, 0.1, 0.5], [0.2, 0.3, 0.4], [0.1, 0.8, 0.7], [0.6, 0.5, 0.1]], np.float32)


def test_top_accuracy_counts_photos_whose_class_is_among_the_k_best():
    labels = np.array([0, 1, 2, 2])
    assert evaluation.top_accuracy(SCORES, labels) == 0.25
    assert evaluation.top_accuracy(SCORES, labels, 2) == 0.75
    assert evaluation.top_accuracy(SCORES, labels, 5) == 1


def test_mean_class_accuracy_weights_classes_equally():
    assert evaluation.mean_class_accuracy(SCORES, np.array([0, 2, 0, 0])) == pytest.approx((2 / 3 + 1) / 2)


def test_average_precision_ignores_photos_that_do_not_count():
    scores = np.array([[0.9], [0.8], [0.7], [0.6], [0.5]], np.float32)
    truth = np.array([[1], [0], [-1], [1], [-1]], np.int8)
    area = evaluation.class_ap(scores, truth, "area")[0]
    assert area == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert evaluation.class_ap(scores, truth)[0] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_average_precision_of_a_class_without_photos_is_nan():
    assert np.isnan(evaluation.class_ap(SCORES, np.full((4, 3), -1, np.int8))).all()
