"""The windows that SVMs are trained on, each held once for all classes that use it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.training.row_store import RowStore
from detection.training.solver import Problem, SharedState

SUBTRACTED = 1000  # windows whose features are read at a time when they are taken out


class HardWindows:
    """Feature rows, keys and SVM state of the held windows, in N slots that are reused after eviction.

    Args:
        dim: length D of a feature row.
        n_classes: K.
        memory: bytes of feature rows held in memory.
        folder: folder of the mapped files that hold further rows.

    Attributes:
        rows: feature rows of the slots.
        image: int64 (N,), the training image of each slot's window; -1 for a free slot.
        box: int64 (N,), the window's row among the labelled boxes of its image.
        state: labels, dual variables and weights over the same slots.
    """

    def __init__(self, dim: int, n_classes: int, memory: int, folder: Path) -> None:
        self.rows = RowStore(dim, memory, folder)
        self.image = np.full(0, -1, np.int64)
        self.box = np.full(0, -1, np.int64)
        self.state = SharedState(
            labels=np.zeros((0, n_classes), np.int8),
            alpha=np.zeros((0, n_classes), np.float32),
            squares=np.zeros(0, np.float64),
            weights=np.zeros((n_classes, dim), np.float32),
            bias_weights=np.zeros(n_classes, np.float64),
        )

    def __len__(self) -> int:
        """Number of held windows."""
        return int((self.image >= 0).sum())

    def add(
        self, image: int, boxes: NDArray[np.int64], features: NDArray[np.float32], labels: NDArray[np.int8]
    ) -> None:
        """Add n windows of one image.

        Args:
            image: number of the training image.
            boxes: int64 (n,), rows of its labelled boxes.
            features: float32 (n, D), unscaled, exact in half precision.
            labels: int8 (n, K), 1 and -1, or 0 for classes that do not use the window.
        """
        free = np.flatnonzero(self.image < 0)
        if len(free) < len(boxes):
            self._grow(len(self.image) + len(boxes) - len(free))
            free = np.flatnonzero(self.image < 0)
        slots = free[: len(boxes)]
        self.image[slots], self.box[slots] = image, boxes
        self.state.labels[slots], self.state.alpha[slots] = labels, 0
        self._write(slots, features)

    def negatives_of(self, image: int) -> NDArray[np.int64]:
        """Return the slots, int64 (n,), of the windows of one image that some class holds as negatives."""
        slots = np.flatnonzero(self.image == image)
        return slots[(self.state.labels[slots] < 0).any(axis=1)]

    def evict(self, pairs: NDArray[np.bool_]) -> int:
        """Remove negatives from classes and free the windows that no class uses.

        Support vectors are kept, because the weights are their sum.

        Args:
            pairs: bool (N, K), (window, class) pairs to remove.

        Returns:
            the number of removed pairs.
        """
        gone = pairs & (self.state.labels < 0) & (self.state.alpha <= 0)
        self.state.labels[gone] = 0
        self.image[(self.state.labels == 0).all(axis=1)] = -1
        return int(gone.sum())

    def release(self, slots: NDArray[np.int64]) -> None:
        """Free slots, int64 (n,), whatever classes use their windows; the weights stay as they are."""
        self.state.labels[slots], self.state.alpha[slots] = 0, 0
        self.image[slots] = -1

    def subtract(self, state: SharedState, slots: NDArray[np.int64], problem: Problem) -> None:
        """Take windows, int64 (n,), out of a state of these slots, which is changed; the weights lose their part."""
        for piece in np.split(slots, range(SUBTRACTED, len(slots), SUBTRACTED)):
            parts = state.alpha[piece] * state.labels[piece]  # (n, K)
            state.weights[:] -= (parts.T @ self.rows.read(piece)) * np.float32(problem.feature_scale)
            state.bias_weights[:] -= parts.sum(axis=0, dtype=np.float64) * problem.bias_feature
            state.labels[piece], state.alpha[piece] = 0, 0

    def drop_class(self, k: int) -> None:
        """Remove a class from all windows, and free those that no other class uses."""
        self.state.labels[:, k], self.state.alpha[:, k] = 0, 0
        self.image[(self.state.labels == 0).all(axis=1)] = -1

    def widen(self, n_classes: int) -> None:
        """Add classes, which use no window yet and have zero weights, up to this number."""
        s, more = self.state, n_classes - len(self.state.weights)
        self.state = SharedState(
            np.pad(s.labels, ((0, 0), (0, more))),
            np.pad(s.alpha, ((0, 0), (0, more))),
            s.squares,
            np.pad(s.weights, ((0, more), (0, 0))),
            np.pad(s.bias_weights, (0, more)),
        )

    def refill(self, slots: NDArray[np.int64], features: NDArray[np.float32]) -> None:
        """Set the unscaled features, float32 (n, D), of slots (n,) whose keys were restored from a checkpoint."""
        self.rows.grow(len(self.image))
        self._write(slots, features)

    def restore(self, image: NDArray[np.int64], box: NDArray[np.int64], state: SharedState) -> None:
        """Set keys, int64 (N,) each, and state from a checkpoint; `refill` adds the features."""
        self.image, self.box, self.state = image, box, state

    def _write(self, slots: NDArray[np.int64], features: NDArray[np.float32]) -> None:
        self.rows.write(slots, features)
        self.state.squares[slots] = np.einsum("ij,ij->i", features, features)

    def _grow(self, slots: int) -> None:
        self.rows.grow(slots)
        more, s = len(self.rows) - len(self.image), self.state
        self.image = np.append(self.image, np.full(more, -1))
        self.box = np.append(self.box, np.full(more, -1))
        self.state = SharedState(
            np.pad(s.labels, ((0, more), (0, 0))),
            np.pad(s.alpha, ((0, more), (0, 0))),
            np.pad(s.squares, (0, more)),
            s.weights,
            s.bias_weights,
        )
