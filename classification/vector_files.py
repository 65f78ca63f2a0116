"""Vectors on disk: a .npy file of one row per photo, and the CRC-32 of each row in a file beside it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SUFFIX, PARTIAL, SUMS = ".npy", ".partial.npy", ".crc32"  # of finished and unfinished arrays, and of either's checksums
Rows = NDArray[np.float32]
Sums = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Unfinished:
    """An array that is being computed, on disk.

    Attributes:
        rows: float32 (N, D); rows still to be computed start with NaN.
        sums: uint32 (N,), CRC-32 of the others.
    """

    rows: Rows
    sums: Sums

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows are still to be computed: bool (N,)."""
        return np.isnan(self.rows[:, 0])

    @property
    def damaged(self) -> NDArray[np.bool_]:
        """Which rows are not as they were computed: bool (N,)."""
        return np.asarray(~self.missing & (sums_of(self.rows) != self.sums))

    def put(self, number: int, row: Rows) -> None:
        """Write a row and its checksum."""
        self.sums[number] = zlib.crc32(row.tobytes())
        self.rows[number, 1:] = row[1:]
        self.rows[number, 0] = row[0]  # last: a row with its first number is complete

    def flush(self) -> None:
        """Write everything to the disk."""
        self.rows.flush()  # type: ignore[attr-defined]
        self.sums.flush()  # type: ignore[attr-defined]


def load(path: Path, count: int) -> Rows | None:
    """Open an array on disk, read-only; None if it is incomplete or does not have `count` rows."""
    try:
        found: Rows = np.load(path, mmap_mode="r")
    except (OSError, MemoryError):
        raise
    except Exception:  # of whatever kind the parsers of a damaged header run into
        return None
    right = found.ndim == 2 and len(found) == count and found.shape[1] > 0 and found.dtype == np.float32
    return found if right else None


def empty_row(length: int) -> Rows:
    """Return a row that marks a vector still to be computed."""
    return np.full(length, np.nan, np.float32)


def sums_of(rows: Rows) -> Sums:
    """Return the CRC-32 of each row."""
    return np.fromiter((zlib.crc32(row.tobytes()) for row in rows), np.uint32, len(rows))


def path_of_sums(path: Path) -> Path:
    """Return the file with the checksums of an array."""
    return path.with_name(f"{path.name.partition('.')[0]}{SUMS}")


def load_sums(path: Path, count: int, mode: Literal["r", "r+"] = "r") -> Sums | None:
    """Open checksums of rows on disk; None if there are not `count` of them."""
    if not count or not path.is_file() or path.stat().st_size != 4 * count:
        return None
    return np.memmap(path, "<u4", mode)
