"""Linear SVMs over shared rows: dual coordinate descent for several classes at once.

Solves the problem of liblinear's `-s 3` for every class:

    min  |w|^2 / 2 + v^2 / 2 + sum_i C_i max(0, 1 - y_i (s w.x_i + B v)),    b = B v,

L2-regularised hinge loss with a regularised bias feature of value B and features scaled by s. The method is that of
Hsieh et al. (2008), started at the last solution. A row is read once for all classes that use it. Training stops at a
relative duality gap, which bounds the distance to the optimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from detection.parallel import for_each_chunk
from detection.training.row_store import BLOCK_ROWS, RowStore, decode_half

EPOCHS_PER_CHECK = 4  # sweeps over the unsettled rows between two checks of all rows
PIECE = 16  # rows of a block that are visited in succession
SETTLED = 0.5  # distance of the margin from 1 at which a row at its bound is skipped until the next check


@dataclass(frozen=True, eq=False)
class Start:
    """SVMs of an earlier training: the regulariser is then the distance from these instead of from zero.

    Attributes:
        weights: float32 (K, D), for scaled features; zero for classes without an earlier training.
        bias_weights: float64 (K,), weights of the bias feature.
    """

    weights: NDArray[np.float32]
    bias_weights: NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Constants of the training of one or more SVMs.

    Attributes:
        cost: C of negatives.
        positive_weight: factor on C of positives.
        bias_feature: value B of the bias feature.
        feature_scale: factor s on the features.
        start: what training begins with and stays close to; None: zero.
    """

    cost: float
    positive_weight: float
    bias_feature: float
    feature_scale: float
    start: Start | None = None

    def upper(self) -> tuple[float, float]:
        """Return the upper bounds of the dual variables of negatives and of positives."""
        return self.cost, self.cost * self.positive_weight


@dataclass(frozen=True)
class Objective:
    """The parts of the primal objective of one class, and its duality gap.

    Attributes:
        positives: loss of the positives.
        negatives: loss of the negatives.
        regularizer: half the squared norm of the weights, that of the bias included; or of their distance from the
            start.
        gap: primal minus dual objective; NaN if unknown.
    """

    positives: float
    negatives: float
    regularizer: float
    gap: float

    @property
    def total(self) -> float:
        """The primal objective, which is minimised."""
        return self.positives + self.negatives + self.regularizer


@dataclass(frozen=True, eq=False)
class SharedState:
    """Labels, dual variables and weights of K classes over the N slots of a `RowStore`.

    Attributes:
        labels: int8 (N, K), 1 or -1; 0 for classes that do not use the row.
        alpha: float32 (N, K), dual variables.
        squares: float64 (N,), squared norms of the unscaled rows.
        weights: float32 (K, D), for scaled features.
        bias_weights: float64 (K,), weights of the bias feature.
    """

    labels: NDArray[np.int8]
    alpha: NDArray[np.float32]
    squares: NDArray[np.float64]
    weights: NDArray[np.float32]
    bias_weights: NDArray[np.float64]


def margins(rows: RowStore, state: SharedState, classes: NDArray[np.int64], problem: Problem) -> NDArray[np.float32]:
    """Return the scores of the rows that each class uses: float32 (N, len(classes)), 0 for other rows."""
    out = np.zeros((len(state.labels), len(classes)), np.float32)
    biases = state.bias_weights * problem.bias_feature

    def work(first: int, last: int) -> None:
        for block, start, stop in _spans(rows, last):
            a = max(first, start)
            if a < stop:
                part, labels = block[a - start : stop - start], state.labels[a:stop]
                _margin_kernel(part, labels, classes, state.weights, biases, problem.feature_scale, out[a:stop])

    for_each_chunk(work, len(out))
    return out


def solve(
    rows: RowStore,
    state: SharedState,
    classes: NDArray[np.int64],
    problem: Problem,
    *,
    tolerance: float = 1e-3,
    max_checks: int = 250,
    seed: int = 0,
) -> dict[int, Objective]:
    """Train classes from their last solution, updating `state` in place.

    Args:
        rows: feature rows.
        state: labels and the last solution.
        classes: int64, the classes to train.
        problem: costs and scales.
        tolerance: relative duality gap at which a class stops: (primal - dual) <= tolerance * primal.
        max_checks: maximum number of rounds of `EPOCHS_PER_CHECK` sweeps.
        seed: random seed of the order in which rows are visited.

    Returns:
        class -> its final objective. The result of a class does not depend on the classes trained with it.
    """
    done: dict[int, Objective] = {}
    active = np.zeros(state.labels.shape, np.bool_)
    for check in range(max_checks + 1):
        scores = margins(rows, state, classes, problem)
        unfinished = []
        for column, k in enumerate(classes):
            done[int(k)] = objective = objective_of(scores[:, column], state, int(k), problem)
            active[:, k] = _unsettled(scores[:, column], state, int(k), problem)
            if objective.gap > tolerance * objective.total:
                unfinished.append(k)
        classes = np.array(unfinished, np.int64)
        if not len(classes) or check == max_checks:
            break
        for epoch in range(EPOCHS_PER_CHECK):
            _sweep(rows, state, active, classes, problem, np.random.default_rng([seed, check, epoch]))
    return done


def _spans(rows: RowStore, n: int) -> list[tuple[NDArray[np.uint16], int, int]]:
    """Return (bits, first slot, end slot) of every block that contains some of the first n slots."""
    starts = range(0, n, BLOCK_ROWS)
    return [(rows.blocks[i].view(np.uint16), s, min(s + BLOCK_ROWS, n)) for i, s in enumerate(starts)]


def objective_of(
    scores: NDArray[np.float32], state: SharedState, k: int, problem: Problem, gap: float | None = None
) -> Objective:
    """Return the objective of class k.

    Args:
        scores: float32 (N,), scores of the rows that the class uses.
        state: labels, dual variables and weights.
        k: the class.
        problem: costs and scales.
        gap: the duality gap; None: computed from the dual variables.
    """
    y = state.labels[:, k]
    hinge = np.maximum(0, 1 - y * scores.astype(np.float64))
    low, high = problem.upper()
    positives, negatives = float(high * hinge[y > 0].sum()), float(low * hinge[y < 0].sum())
    w, v, shift = state.weights[k].astype(np.float64), state.bias_weights[k], 0.0
    if problem.start is not None:  # the dual variables sum to the distance from the start
        w0, v0 = problem.start.weights[k].astype(np.float64), problem.start.bias_weights[k]
        w, v = w - w0, v - v0
        shift = float(w0 @ w + v0 * v)
    regularizer = float(w @ w + v**2) / 2
    if gap is None:
        dual = float(state.alpha[y != 0, k].sum(dtype=np.float64)) - regularizer - shift
        gap = positives + negatives + regularizer - dual
    return Objective(positives, negatives, regularizer, gap)


def _unsettled(scores: NDArray[np.float32], state: SharedState, k: int, problem: Problem) -> NDArray[np.bool_]:
    """Return the rows, bool (N,), whose dual variable is not at a bound that the margin clearly confirms."""
    y, alpha = state.labels[:, k], state.alpha[:, k]
    low, high = problem.upper()
    margin = y * scores
    upper = np.where(y > 0, high, low).astype(np.float32)
    settled = ((alpha <= 0) & (margin > 1 + SETTLED)) | ((alpha >= upper) & (margin < 1 - SETTLED))
    return (y != 0) & ~settled


def _sweep(
    rows: RowStore,
    state: SharedState,
    active: NDArray[np.bool_],
    classes: NDArray[np.int64],
    problem: Problem,
    rng: np.random.Generator,
) -> None:
    """Pass once over the active rows in random order; the classes are divided among the threads."""
    low, high = problem.upper()
    constants = (np.float32(problem.feature_scale), problem.bias_feature, low, high)
    pieces = _shuffled_pieces(rows, np.asarray(active[:, classes].any(axis=1)), rng)

    def work(first: int, last: int) -> None:
        for block, start, stop, slots in pieces:
            _descend(
                block,
                slots,
                active[start:stop],
                state.labels[start:stop],
                state.alpha[start:stop],
                state.squares[start:stop],
                classes[first:last],
                state.weights,
                state.bias_weights,
                constants,
            )

    for_each_chunk(work, len(classes))


def _shuffled_pieces(
    rows: RowStore, wanted: NDArray[np.bool_], rng: np.random.Generator
) -> list[tuple[NDArray[np.uint16], int, int, NDArray[np.int64]]]:
    """Return (bits, first slot, end slot, slots in the block) of small random pieces of the blocks, in random order.

    Visiting block after block does not converge: many rows of one block in succession pull the weights in their
    direction, and the duality gap stays at some tenths of a percent.
    """
    pieces = []
    for block, start, stop in _spans(rows, len(wanted)):
        slots = rng.permutation(np.flatnonzero(wanted[start:stop]))
        pieces += [(block, start, stop, slots[i : i + PIECE]) for i in range(0, len(slots), PIECE)]
    return [pieces[i] for i in rng.permutation(len(pieces))]


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _dot(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    total = np.float32(0)
    for j in range(len(a)):
        total += a[j] * b[j]
    return total


@numba.njit(cache=True, nogil=True)
def _margin_kernel(
    block: NDArray[np.uint16],
    labels: NDArray[np.int8],
    classes: NDArray[np.int64],
    weights: NDArray[np.float32],
    biases: NDArray[np.float64],
    scale: float,
    out: NDArray[np.float32],
) -> None:
    """Compute `margins` of some rows of one block."""
    bits = np.empty(block.shape[1], np.uint32)
    x = bits.view(np.float32)
    for r in range(len(labels)):
        decoded = False
        for column, k in enumerate(classes):
            if labels[r, k] == 0:
                continue
            if not decoded:
                decode_half(block[r], bits, x)
                decoded = True
            out[r, column] = scale * _dot(weights[k], x) + biases[k]


@numba.njit(cache=True, nogil=True)
def _descend(
    block: NDArray[np.uint16],
    order: NDArray[np.int64],
    active: NDArray[np.bool_],
    labels: NDArray[np.int8],
    alpha: NDArray[np.float32],
    squares: NDArray[np.float64],
    classes: NDArray[np.int64],
    weights: NDArray[np.float32],
    bias_weights: NDArray[np.float64],
    constants: tuple[np.float32, float, float, float],
) -> None:
    """Take a coordinate step for every active (row, class) pair of one block."""
    scale, bias, low, high = constants
    bits = np.empty(block.shape[1], np.uint32)
    x = bits.view(np.float32)
    for r in order:
        decoded = False
        for k in classes:
            if not active[r, k]:
                continue
            if not decoded:
                decode_half(block[r], bits, x)
                decoded = True
            y = labels[r, k]
            gradient = y * (scale * _dot(weights[k], x) + bias * bias_weights[k]) - 1.0
            upper = np.float32(high if y > 0 else low)
            curvature = scale * scale * squares[r] + bias * bias
            old = alpha[r, k]
            new = np.float32(min(max(old - gradient / curvature, 0.0), upper))
            if new == old:
                continue
            alpha[r, k] = new
            step = (new - old) * y
            bias_weights[k] += step * bias
            w, factor = weights[k], np.float32(step * scale)
            for j in range(len(w)):
                w[j] += factor * x[j]
