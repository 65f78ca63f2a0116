"""scikit-learn's LinearSVC on the shared rows: the reference that the shared solver is held against."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import LinearSVC

from detection.training.row_store import RowStore
from detection.training.solver import Objective, Problem, SharedState, objective_of, solve

log = logging.getLogger(__name__)

BYTES_A_NUMBER = 20  # LinearSVC's float64 copy and liblinear's nodes, measured, beside the float32 it is given


def fit_liblinear(
    rows: RowStore,
    state: SharedState,
    classes: NDArray[np.int64],
    problem: Problem,
    *,
    memory: int,
    tolerance: float,
) -> dict[int, Objective]:
    """Train the classes one after the other, cold, on a private copy of their rows.

    A class whose copy needs more than `memory` bytes is trained by `solver.solve` to the given duality gap.

    Returns:
        class -> objective; the gap is unknown (nan) where LinearSVC trained.
    """
    done: dict[int, Objective] = {}
    for k in map(int, classes):
        slots = np.flatnonzero(state.labels[:, k])
        state.alpha[:, k], state.weights[k], state.bias_weights[k] = 0, 0, 0
        if len(slots) * rows.dim * BYTES_A_NUMBER > memory:
            log.info("class %d: %d rows do not fit LinearSVC's memory; using the shared solver", k, len(slots))
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
