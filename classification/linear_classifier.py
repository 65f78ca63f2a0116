"""The last step: a linear classifier of what a layer says, by softmax or by one SVM a class (section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["softmax", "svm"]
MAX_GRAM_ROWS = 10_000  # photos, of which the products of all pairs (0.8 GB) are made where vectors are shorter
COST = 3.0  # of the SVMs, for vectors of length 1: best on training photos held out, of 0.3, 1, 3, 10


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """K linear functions of a vector.

    Attributes:
        weights: float32 (K, D).
        bias: float32 (K,).
        kind: "softmax": of the vector as it is, giving probabilities; "svm": of the vector scaled to length 1,
            giving margins, above 0 for yes.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    kind: Kind

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities or margins: float32 (N, D) -> (N, K)."""
        if self.kind == "svm":
            return normalized(vectors) @ self.weights.T + self.bias
        logits = vectors @ self.weights.T + self.bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probs: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
        return probs

    def score_views(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of the views of one photo, float32 (V, D) -> (K,): mean probabilities, or margins of the mean vector.

        SVMs learn from means of views, so they are asked about these (section 3.1.5 averages what a softmax says).
        """
        if self.kind == "svm":
            return self(vectors.mean(axis=0, keepdims=True))[0]
        scores: NDArray[np.float32] = self(vectors).mean(axis=0)
        return scores


def normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors scaled to L2 length 1: float32 (N, D) -> the same; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32, copy=False)


def fit(vectors: NDArray[np.float32], truth: NDArray[np.int8], cost: float = COST, seed: int = 0) -> LinearClassifier:
    """One linear SVM a class, against all others.

    Args:
        vectors: float32 (N, D), of any length.
        truth: int8 (N, K): 1 in, -1 out, 0 leaves the photo out of that class' training.
        cost: of a margin violated by 1.
        seed: of the order in which liblinear sees the rows.

    Raises:
        ValueError: a class has no photo, or all.
    """
    rows = normalized(vectors)
    solve = _fit_by_gram_matrix if len(rows) <= max(MAX_GRAM_ROWS, rows.shape[1]) else _fit_by_rows
    return solve(rows, truth, cost, seed)


def _fit_by_gram_matrix(rows: NDArray[np.float32], truth: NDArray[np.int8], cost: float, seed: int) -> LinearClassifier:
    """By the products of all pairs of rows, made once for all classes: 25 times as fast as by 4,000 rows of 512."""
    from sklearn.svm import SVC

    products = (rows @ rows.T).astype(np.float64)  # (N, N)
    coefficients, bias = np.zeros((truth.shape[1], len(rows)), np.float32), np.zeros(truth.shape[1], np.float32)
    for k, used in enumerate(_usable(truth)):
        some = products if len(used) == len(rows) else products[np.ix_(used, used)]
        svm = SVC(C=cost, kernel="precomputed").fit(some, truth[used, k])
        coefficients[k, used[svm.support_]] = svm.dual_coef_[0]
        bias[k] = svm.intercept_[0]
    return LinearClassifier(coefficients @ rows, bias, "svm")


def _fit_by_rows(rows: NDArray[np.float32], truth: NDArray[np.int8], cost: float, seed: int) -> LinearClassifier:
    """By the rows themselves, where there are too many for their products."""
    from sklearn.svm import LinearSVC

    weights, bias = np.zeros((truth.shape[1], rows.shape[1]), np.float32), np.zeros(truth.shape[1], np.float32)
    for k, used in enumerate(_usable(truth)):
        svm = LinearSVC(C=cost, loss="hinge", dual=True, random_state=seed, max_iter=20_000, intercept_scaling=10)
        svm.fit(rows[used], truth[used, k])
        weights[k], bias[k] = svm.coef_[0], svm.intercept_[0]
    return LinearClassifier(weights, bias, "svm")


def _usable(truth: NDArray[np.int8]) -> list[NDArray[np.int64]]:
    """The photos that count for each class.

    Raises:
        ValueError: they are all of one kind.
    """
    found = []
    for k, column in enumerate(truth.T):
        used = np.flatnonzero(column)
        if len(np.unique(column[used])) < 2:
            there = int((column == 1).sum())
            raise ValueError(f"class {k}: is in {there} of {len(used)} photos; needs some with it and some without")
        found.append(used)
    return found
