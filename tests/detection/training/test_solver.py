"""The solver of all classes against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from detection.training.liblinear import fit_liblinear
from detection.training.row_store import BLOCK_ROWS, RowStore
from detection.training.solver import Problem, SharedState, Start, margins, solve
from tests.reference.svm import objective, optimum

ROWS, DIM, CLASSES = 2500, 160, 3  # more rows than a block holds


@pytest.fixture
def problem(tmp_path):
    """Rows like pooled features (not negative, with a common mean), labels with noise, some rows left out."""
    rng = np.random.default_rng(0)
    features = np.maximum(0, rng.standard_normal((ROWS, DIM)) + rng.standard_normal(DIM)).astype(np.float16)
    truth = features.astype(np.float32) @ rng.standard_normal((DIM, CLASSES))
    noisy = truth - truth.mean(axis=0) + 3 * rng.standard_normal(truth.shape)
    labels = np.where(noisy > 12, 1, -1).astype(np.int8)
    labels[rng.random(labels.shape) < 0.3] = 0
    rows = RowStore(DIM, memory=1, folder=tmp_path)  # one block in memory, the others mapped
    rows.grow(ROWS)
    rows.write(np.arange(ROWS), features.astype(np.float32))
    state = SharedState(
        labels,
        np.zeros(labels.shape, np.float32),
        (features.astype(np.float64) ** 2).sum(axis=1),
        np.zeros((CLASSES, DIM), np.float32),
        np.zeros(CLASSES),
    )
    scale = 20 / np.linalg.norm(features.astype(np.float64), axis=1).mean()
    yield rows, state, Problem(1e-3, 2.0, 10.0, scale), features.astype(np.float64) * scale
    rows.close()


def held(state, features, k):
    mine = state.labels[:, k] != 0
    return features[mine], state.labels[mine, k].astype(int)


def test_stored_rows_are_the_features_in_half_precision(problem):
    rows, _, setting, features = problem
    picked = np.array([2499, 0, BLOCK_ROWS, BLOCK_ROWS - 1, 7])
    np.testing.assert_allclose(rows.read(picked) * setting.feature_scale, features[picked], rtol=1e-6)


def test_margins_are_the_scores_of_the_held_rows(problem):
    rows, state, setting, features = problem
    rng = np.random.default_rng(1)
    state.weights[:] = rng.standard_normal(state.weights.shape)
    state.bias_weights[:] = [0.1, -0.2, 0.3]
    expected = features @ state.weights.T + 10 * state.bias_weights
    got = margins(rows, state, np.arange(CLASSES), setting)
    np.testing.assert_allclose(got, np.where(state.labels != 0, expected, 0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("solver", ["shared", "liblinear"])
def test_objective_is_within_a_thousandth_of_the_optimum(problem, solver):
    rows, state, setting, features = problem
    classes = np.arange(CLASSES)
    if solver == "shared":
        found = solve(rows, state, classes, setting)
    else:
        found = fit_liblinear(rows, state, classes, setting, memory=2**30, tolerance=1e-3)
    for k in range(CLASSES):
        x, y = held(state, features, k)
        best = optimum(x, y, 1e-3, 2.0, 10.0)
        assert best <= found[k].total * (1 + 1e-6)
        assert found[k].total <= best * 1.001


def test_the_reported_objective_is_that_of_the_weights(problem):
    rows, state, setting, features = problem
    found = solve(rows, state, np.arange(CLASSES), setting)
    for k in range(CLASSES):
        x, y = held(state, features, k)
        parts = objective(x, y, state.weights[k].astype(float), 10 * state.bias_weights[k], 1e-3, 2.0, 10.0)
        np.testing.assert_allclose((found[k].positives, found[k].negatives, found[k].regularizer), parts, rtol=1e-3)


def test_a_class_does_not_depend_on_the_classes_trained_with_it(problem):
    rows, state, setting, _ = problem
    copy = SharedState(*(np.copy(v) for v in vars(state).values()))
    together = solve(rows, state, np.array([1]), setting)
    alone = solve(rows, copy, np.array([1]), setting)
    assert together == alone
    np.testing.assert_array_equal(state.weights, copy.weights)


def test_weights_are_the_sum_of_the_support_vectors(problem):
    rows, state, setting, features = problem
    solve(rows, state, np.arange(CLASSES), setting)
    signed = state.alpha.astype(np.float64) * state.labels
    np.testing.assert_allclose(state.weights, signed.T @ features, atol=1e-4)
    np.testing.assert_allclose(state.bias_weights, 10 * signed.sum(axis=0), rtol=1e-5)


def test_warm_start_needs_no_work_at_the_optimum(problem):
    rows, state, setting, _ = problem
    first = solve(rows, state, np.arange(CLASSES), setting)
    before = state.weights.copy()
    assert solve(rows, state, np.arange(CLASSES), setting) == first
    np.testing.assert_array_equal(state.weights, before)


def test_liblinear_falls_back_to_the_shared_solver_if_memory_is_short(problem, caplog):
    rows, state, setting, _ = problem
    with caplog.at_level("INFO"):
        found = fit_liblinear(rows, state, np.array([0]), setting, memory=1000, tolerance=1e-3)
    assert found[0].gap <= 1e-3 * found[0].total
    assert "using the shared solver" in caplog.text


def test_a_start_is_what_the_weights_stay_close_to(problem):
    """The optimum is found as that of the dual problem by a general bounded solver."""
    rows, state, setting, features = problem
    rng, k = np.random.default_rng(2), 1
    start = Start((rng.standard_normal((CLASSES, DIM)) / 30).astype(np.float32), np.array([0.0, 0.04, 0.0]))
    state.weights[:], state.bias_weights[:] = start.weights, start.bias_weights
    found = solve(rows, state, np.array([k]), replace(setting, start=start), tolerance=1e-5)[k]
    x, y = held(state, features, k)
    signed = np.hstack([x, np.full((len(x), 1), 10.0)]) * y[:, None]  # (N, D + 1)
    margin = signed @ np.append(start.weights[k].astype(float), start.bias_weights[k])

    def negative_dual(alpha):
        shift = signed.T @ alpha
        return shift @ shift / 2 - (alpha * (1 - margin)).sum(), signed @ shift - (1 - margin)

    bounds = [(0, 2e-3 if label > 0 else 1e-3) for label in y]
    best = minimize(negative_dual, np.zeros(len(x)), jac=True, bounds=bounds, options={"maxiter": 2000})
    assert found.total == pytest.approx(-best.fun, rel=1e-3)
    assert 0 <= found.gap <= 1e-4 * found.total
    shift = np.append(state.weights[k] - start.weights[k], state.bias_weights[k] - start.bias_weights[k])
    np.testing.assert_allclose(shift, signed.T @ best.x, atol=0.01 * np.abs(shift).max())
