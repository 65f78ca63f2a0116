"""The windows that some SVM trains on: each held once, whatever the number of classes that want it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.training.row_store import RowStore
from detection.training.solver import SharedState


class HardWindows:
    """Rows, keys and SVM state of the cached windows, in slots that are reused after eviction.

    Args:
        dim: D, numbers a feature row.
        n_classes: K.
        memory: bytes of feature rows held in memory.
        folder: where rows beyond that are mapped from.

    Attributes:
        image: int64 (N,) which training image each slot's window is of, -1 for a free slot.
        box: int64 (N,) which window of that image.
        state: labels, dual variables and weights, (N, ...) over the same slots.
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
        """Windows held."""
        return int((self.image >= 0).sum())

    def add(
        self, image: int, boxes: NDArray[np.int64], features: NDArray[np.float32], labels: NDArray[np.int8]
    ) -> None:
        """Hold n windows of one image: box numbers (n,), unscaled features (n, D), exact in half precision,
        labels (n, K)."""
        free = np.flatnonzero(self.image < 0)
        if len(free) < len(boxes):
            self._grow(len(self.image) + len(boxes) - len(free))
            free = np.flatnonzero(self.image < 0)
        slots = free[: len(boxes)]
        self.image[slots], self.box[slots] = image, boxes
        self.state.labels[slots], self.state.alpha[slots] = labels, 0
        self._write(slots, features)

    def evict(self, pairs: NDArray[np.bool_]) -> int:
        """Take (window, class) pairs, bool (N, K), out; free the windows that no class holds any more.

        Support vectors stay: the weights are made of them.

        Returns:
            the number of pairs taken out.
        """
        gone = pairs & (self.state.labels < 0) & (self.state.alpha <= 0)
        self.state.labels[gone] = 0
        self.image[(self.state.labels == 0).all(axis=1)] = -1
        return int(gone.sum())

    def refill(self, slots: NDArray[np.int64], features: NDArray[np.float32]) -> None:
        """Put back the features of slots whose keys were restored from a checkpoint."""
        self.rows.grow(len(self.image))
        self._write(slots, features)

    def restore(self, image: NDArray[np.int64], box: NDArray[np.int64], state: SharedState) -> None:
        """Take over keys and state; the features follow by `refill`."""
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
