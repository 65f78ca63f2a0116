"""Feature rows shared by all classes: each window once, in half precision, in memory up to a limit.

Rows are stored in blocks. Blocks beyond the limit are files mapped into memory, so that a training set larger than the
memory is slow instead of failing.
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
# The bits of a half shifted into a single have an exponent 112 too low (bias 15 instead of 127); the product is exact,
# also for subnormal numbers.
_HALF_EXPONENT = np.float32(2.0**112)


class RowStore:
    """A growing (N, D) half-precision matrix with reusable slots.

    Args:
        dim: length D of a row.
        memory: bytes of rows held in memory; further blocks are mapped files.
        folder: folder of these files; they disappear when the process ends, even if it is killed.
    """

    def __init__(self, dim: int, memory: int, folder: Path) -> None:
        self.dim = dim
        self.folder = folder
        self.blocks: list[NDArray[np.float16]] = []  # each (BLOCK_ROWS, D)
        self._in_memory = max(1, memory // (BLOCK_ROWS * dim * 2))
        self._files: list[IO[bytes]] = []

    def __len__(self) -> int:
        """Number of slots."""
        return len(self.blocks) * BLOCK_ROWS

    def grow(self, slots: int) -> None:
        """Grow to at least this number of slots."""
        while len(self) < slots:
            self.blocks.append(self._new_block())

    def _new_block(self) -> NDArray[np.float16]:
        shape = (BLOCK_ROWS, self.dim)
        if len(self.blocks) < self._in_memory:
            return np.zeros(shape, np.float16)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(prefix="rows-", dir=self.folder)  # noqa: SIM115 (closed by `close`)
        self._files.append(file)
        if hasattr(os, "posix_fallocate"):  # a full disk raises here; a write to a mapped page would kill the process
            os.posix_fallocate(file.fileno(), 0, BLOCK_ROWS * self.dim * 2)
        return np.memmap(file, np.float16, "w+", shape=shape)

    def write(self, slots: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Store values, float32 (n, D), at slots, int64 (n,).

        Raises:
            ValueError: a value is not finite in half precision.
        """
        half = torch.from_numpy(values).half()  # several times faster than numpy's conversion
        if half.numel() and not math.isfinite(sum(v.item() for v in half.aminmax())):  # a fifth of isfinite's time
            raise ValueError(
                "features: expected finite values of at most 65504 (half precision); check the network's weights"
            )
        for block in np.unique(slots // BLOCK_ROWS):
            mine = slots // BLOCK_ROWS == block
            self.blocks[block][slots[mine] % BLOCK_ROWS] = half.numpy()[mine]

    def read(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the rows at slots, int64 (n,): float32 (n, D)."""
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
    """Convert finite half-precision numbers, given as their bits, to `single`, a float32 view of `bits`."""
    for j in range(len(half)):
        h = np.uint32(half[j])
        bits[j] = ((h & np.uint32(0x7FFF)) << np.uint32(13)) | ((h & np.uint32(0x8000)) << np.uint32(16))
    for j in range(len(half)):
        single[j] *= _HALF_EXPONENT
