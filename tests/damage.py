"""Files as a failing disk returns them."""

import random
from pathlib import Path


def flip_bits(path: Path, count: int = 20, seed: int = 0) -> None:
    """Flip bits of a file at random places."""
    data, rng = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(count):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def without_checksum(path: Path) -> None:
    """Leave a checked file as earlier versions wrote it."""
    path.write_bytes(path.read_bytes()[: -len("\nsha256 \n") - 64])
