"""Feature rows shared by all classes: each window once, in half precision, in memory up to a budget.

Rows live in blocks. Blocks beyond the budget are files mapped into memory, so a training set that outgrows
the machine slows down rather than fails.
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import IO

import numba
import numpy as np
import torch
from numpy.typing import NDArray

BLOCK_ROWS = 2048
# A half shifted into a single has its exponent 112 too low (15 against 127); the product is exact, subnormals too.
_HALF_EXPONENT = np.float32(2.0**112)


class RowStore:
    """A growing (N, D) half-precision matrix with reusable slots.

    Args:
        dim: D, numbers a row.
        memory: bytes of rows held in memory; further blocks are mapped files.
        folder: where those files lie; they go when the process ends, however it ends.
    """

    def __init__(self, dim: int, memory: int, folder: Path) -> None:
        self.dim = dim
        self.folder = folder
        self.blocks: list[NDArray[np.float16]] = []  # each (BLOCK_ROWS, D)
        self._in_memory = max(1, memory // (BLOCK_ROWS * dim * 2))
        self._files: list[IO[bytes]] = []

    def __len__(self) -> int:
        """Slots there is room for."""
        return len(self.blocks) * BLOCK_ROWS

    def grow(self, slots: int) -> None:
        """Make room for at least this many slots."""
        while len(self) < slots:
            self.blocks.append(self._new_block())

    def _new_block(self) -> NDArray[np.float16]:
        shape = (BLOCK_ROWS, self.dim)
        if len(self.blocks) < self._in_memory:
            return np.zeros(shape, np.float16)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(prefix="rows-", dir=self.folder)  # noqa: SIM115 (closed by `close`)
        self._files.append(file)
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here; in a mapped page it would end the process
            os.posix_fallocate(file.fileno(), 0, BLOCK_ROWS * self.dim * 2)
        return np.memmap(file, np.float16, "w+", shape=shape)

    def write(self, slots: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Store (n, D) `values`, which must be finite in half precision, at the given slots.

        Raises:
            ValueError: a value is beyond half precision's 65504.
        """
        half = torch.from_numpy(values).half()  # several times as fast as numpy's conversion
        if half.numel() and not math.isfinite(sum(v.item() for v in half.aminmax())):  # a fifth of isfinite's time
            raise ValueError("features: a value is beyond half precision (65504) or not a number")
        for block in np.unique(slots // BLOCK_ROWS):
            mine = slots // BLOCK_ROWS == block
            self.blocks[block][slots[mine] % BLOCK_ROWS] = half.numpy()[mine]

    def read(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """The rows at the given slots: float32 (n, D)."""
        out = np.empty((len(slots), self.dim), np.float32)
        for block in np.unique(slots // BLOCK_ROWS):
            mine = slots // BLOCK_ROWS == block
            out[mine] = self.blocks[block][slots[mine] % BLOCK_ROWS]
        return out

    def close(self) -> None:
        """Release memory and disk space."""
        self.blocks.clear()
        for file in self._files:
            file.close()
        self._files.clear()


@numba.njit(nogil=True, inline="always")
def decode_half(half: NDArray[np.uint16], bits: NDArray[np.uint32], single: NDArray[np.float32]) -> None:
    """Finite half-precision numbers, given as bits, to `single`, a float32 view of `bits`."""
    for j in range(len(half)):
        h = np.uint32(half[j])
        bits[j] = ((h & np.uint32(0x7FFF)) << np.uint32(13)) | ((h & np.uint32(0x8000)) << np.uint32(16))
    for j in range(len(half)):
        single[j] *= _HALF_EXPONENT
