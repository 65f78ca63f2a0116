"""Ridge regression on feature rows that arrive in blocks, in the smaller of its primal and its dual form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

FOLD_ROWS = 2048  # rows collected for one update of the Gram matrix
PIECE_ROWS = 256  # rows that are converted to double precision at a time
Floats = NDArray[np.float64]


def system_bytes(rows: int, length: int) -> int:
    """Return the size in bytes of a `RidgeSystem` for `rows` feature rows of `length` values, in single precision."""
    columns = length + 1
    return 4 * columns * (rows if rows < columns else columns + FOLD_ROWS)


class RidgeSystem:
    """(X'X + ridge I) b = X'(T - mean) M for rows that arrive in blocks; X ends in a column of ones.

    As long as there are fewer rows than columns, the rows are kept for the smaller dual system
    b = X'(XX' + ridge I)^-1 (T - mean) M. From then on they are added to the Gram matrix X'X. Sums have the precision
    of the features; single precision is enough, because the ridge bounds the condition number.

    Args:
        ridge: weight of the squared norm of the coefficients.

    Attributes:
        targets: blocks of float64 (n, 4), T of all rows.
    """

    def __init__(self, ridge: float) -> None:
        self.ridge = ridge
        self.targets: list[Floats] = []
        self._buffer: list[NDArray[np.floating]] = []  # rows that are not in the Gram matrix
        self._gram: NDArray[np.floating] | None = None  # (D + 1, D + 1), upper triangle
        self._product: Floats | None = None  # X'T, (D + 1, 4)

    def add(self, features: NDArray[np.floating], targets: Floats) -> None:
        """Add n rows: features (n, D), float64 targets (n, 4)."""
        self._buffer.append(np.pad(features, ((0, 0), (0, 1)), constant_values=1))
        self.targets.append(targets)
        enough = features.shape[1] + 1 if self._gram is None else FOLD_ROWS
        if sum(map(len, self._buffer)) >= enough:
            self._fold()

    def merge(self, other: RidgeSystem) -> None:
        """Add the rows of another system, which cannot be used afterwards, after those of this one.

        Both are brought into the primal form.
        """
        for system in (self, other):
            if system._buffer:
                system._fold()
        if self._gram is None:
            self._gram, self._product = other._gram, other._product
        elif other._gram is not None:
            assert self._product is not None
            assert other._product is not None
            self._gram += other._gram
            self._product += other._product
        self.targets += other.targets

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: the upper triangle of the Gram matrix, which is half of it."""
        state, gram = dict(vars(self)), self._gram
        if gram is not None:
            state["_gram"] = np.concatenate([gram[: column + 1, column] for column in range(len(gram))])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state that was pickled; its arrays, as Ray gives them, cannot be written to."""
        vars(self).update(state)
        if (packed := state["_gram"]) is not None:
            self._product = state["_product"].copy()
            n = math.isqrt(2 * len(packed))  # of n (n + 1) / 2 numbers
            self._gram = np.zeros((n, n), packed.dtype, order="F")
            for column, start in enumerate(np.cumsum(np.arange(n))):
                self._gram[: column + 1, column] = packed[start : start + column + 1]

    def _fold(self) -> None:
        x = np.concatenate(self._buffer)  # (n, D + 1)
        t = np.concatenate(self.targets)[-len(x) :]
        self._buffer = []
        if self._gram is None:
            self._gram = np.zeros((x.shape[1], x.shape[1]), x.dtype, order="F")
            self._product = np.zeros((x.shape[1], 4))
        (syrk,) = linalg.get_blas_funcs(("syrk",), (x,))
        self._gram = syrk(1.0, x.T, beta=1.0, c=self._gram, overwrite_c=True)
        self._product += x.T @ t.astype(x.dtype)

    def solve(self, mean: Floats, whiten: Floats) -> Floats:
        """Return the coefficients of the whitened targets: float64 (D + 1, 4). The system cannot be used afterwards.

        Args:
            mean: float64 (4,), mean of the targets.
            whiten: float64 (4, 4), the factor M.
        """
        if self._gram is None:
            x = np.concatenate(self._buffer)
            self._buffer = []
            y = (np.concatenate(self.targets) - mean) @ whiten
            dual = _solve(x @ x.T, y, self.ridge)
            pieces = range(0, len(x), PIECE_ROWS)  # in double precision, without a copy of all rows
            return sum((x[i : i + PIECE_ROWS].T @ dual[i : i + PIECE_ROWS] for i in pieces), np.zeros((x.shape[1], 4)))
        if self._buffer:
            self._fold()
        y = (self._product - np.outer(self._gram[:, -1], mean)) @ whiten  # last column: X'1
        return _solve(self._gram, y, self.ridge)


def _solve(gram: NDArray[np.floating], right: Floats, ridge: float) -> Floats:
    """Return (gram + ridge I)^-1 right by Cholesky factorisation of the upper triangle; overwrites `gram`."""
    gram[np.diag_indices_from(gram)] += ridge
    factor = linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    return linalg.cho_solve(factor, right.astype(gram.dtype), check_finite=False).astype(np.float64)
