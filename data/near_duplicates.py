"""Photos that look alike: resized, recompressed or slightly cropped copies, and neighbouring frames of a film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_BITS = 6
"""Largest number of different bits of 64, of two photos that look alike."""

MAX_GREY = 10
"""Largest mean difference of the grey values of their thumbnails, of 255; it tells uniform photos apart."""

# Chosen on 2,664 photos of VOC 2007, BCCD and Caltech-101: copies of half the size or in JPEG quality 40 rarely differ
# by more than 5 bits and 3 grey values; of the 3.5 million pairs of different photos, 4 are within both limits.

_SIDE, _HASH = 16, (9, 8)  # pixels of the thumbnail, and width and height of the picture that is hashed
_ROWS = 256  # photos compared at once with all of another split
_ONES = np.array([value.bit_count() for value in range(256)], np.uint8)


Look = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Hash, uint8 (8,), and grey thumbnail, uint8 (16, 16), of a photo."""


@dataclass(frozen=True, eq=False)
class Looks:
    """What N photos look like.

    Attributes:
        hashes: uint8 (N, 8), 64 bits each: whether a part of the photo is brighter than the one left of it (dHash).
        thumbnails: uint8 (N, 16, 16), grey.
    """

    hashes: NDArray[np.uint8]
    thumbnails: NDArray[np.uint8]

    @classmethod
    def of(cls, photos: Sequence[Look]) -> Looks:
        """Stack the results of `look_of`."""
        hashes = np.array([bits for bits, _ in photos], np.uint8).reshape(-1, 8)
        return cls(hashes, np.array([grey for _, grey in photos], np.uint8).reshape(-1, _SIDE, _SIDE))

    def alike(self, others: Looks) -> list[tuple[int, int]]:
        """Return pairs of indices, of photos of this and of the others that look alike."""
        pairs: list[tuple[int, int]] = []
        for start in range(0, len(self.hashes), _ROWS):
            different = _ONES[self.hashes[start : start + _ROWS, None] ^ others.hashes]  # (rows, M, 8)
            mine, theirs = np.nonzero(different.sum(axis=2) <= MAX_BITS)
            grey = self.thumbnails[start + mine].astype(np.int16) - others.thumbnails[theirs]  # (pairs, 16, 16)
            near = np.abs(grey).mean(axis=(1, 2)) <= MAX_GREY
            pairs += zip((start + mine[near]).tolist(), theirs[near].tolist(), strict=True)
        return pairs


def look_of(photo: NDArray[np.uint8]) -> Look:
    """Return what a photo looks like, uint8 RGB (H, W, 3)."""
    grey = Image.fromarray(photo).convert("L")
    small = np.asarray(grey.resize(_HASH, Image.Resampling.BOX))  # (8, 9)
    return np.packbits(small[:, 1:] > small[:, :-1]), np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX))
