"""The SVM objective, term by term, and its optimum by scikit-learn, in float64."""

import numpy as np
from sklearn.svm import LinearSVC


def objective(features, labels, weights, bias, cost, positive_weight, bias_feature):
    """Return (positives, negatives, regularizer) of liblinear's -s 3 with a regularised bias feature."""
    hinge = np.maximum(0, 1 - labels * (features @ weights + bias))
    loss = cost * np.where(labels > 0, positive_weight, 1) * hinge
    return loss[labels > 0].sum(), loss[labels < 0].sum(), (weights @ weights + (bias / bias_feature) ** 2) / 2


def optimum(features, labels, cost, positive_weight, bias_feature):
    """Return the minimum of the objective, found with a tight tolerance."""
    machine = LinearSVC(
        C=cost,
        loss="hinge",
        dual=True,
        class_weight={1: positive_weight},
        intercept_scaling=bias_feature,
        tol=1e-5,
        max_iter=100_000,
        random_state=0,
    ).fit(features.astype(np.float64), labels)
    solution = machine.coef_[0], machine.intercept_[0]
    return sum(objective(features, labels, *solution, cost, positive_weight, bias_feature))
