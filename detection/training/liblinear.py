"""scikit-learn's LinearSVC on the shared rows, the reference for the shared solver."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import LinearSVC

from detection.training.row_store import RowStore
from detection.training.solver import Objective, Problem, SharedState, objective_of, solve

log = logging.getLogger(__name__)

BYTES_PER_VALUE = 20  # measured: the float32 input, LinearSVC's float64 copy and liblinear's nodes


def fit_liblinear(
    rows: RowStore,
    state: SharedState,
    classes: NDArray[np.int64],
    problem: Problem,
    *,
    memory: int,
    tolerance: float,
) -> dict[int, Objective]:
    """Train classes one after the other from zero, each on a copy of its rows, updating `state` in place.

    Args:
        rows: feature rows.
        state: labels; its dual variables and weights are replaced.
        classes: int64, the classes to train.
        problem: costs and scales.
        memory: bytes for the copy; a class that needs more is trained by `solver.solve`.
        tolerance: relative duality gap at which `solver.solve` stops.

    Returns:
        class -> objective; its gap is NaN for classes trained by LinearSVC.
    """
    done: dict[int, Objective] = {}
    for k in map(int, classes):
        slots = np.flatnonzero(state.labels[:, k])
        state.alpha[:, k], state.weights[k], state.bias_weights[k] = 0, 0, 0
        if len(slots) * rows.dim * BYTES_PER_VALUE > memory:
            log.info(
                "class %d: the copy of %d rows for LinearSVC exceeds the memory limit; using the shared solver",
                k,
                len(slots),
            )
            done |= solve(rows, state, np.array([k]), problem, tolerance=tolerance)
            continue
        features = rows.read(slots) * np.float32(problem.feature_scale)
        labels = state.labels[slots, k]
        machine = LinearSVC(
            C=problem.cost,
            loss="hinge",
            dual=True,
            class_weight={1: problem.positive_weight},
            intercept_scaling=problem.bias_feature,
            max_iter=10_000,
            random_state=0,
        ).fit(features, labels)
        state.weights[k] = machine.coef_[0]
        state.bias_weights[k] = machine.intercept_[0] / problem.bias_feature
        scores = np.zeros(len(state.labels), np.float32)
        scores[slots] = machine.decision_function(features)
        done[k] = objective_of(scores, state, k, problem, gap=float("nan"))
    return done
