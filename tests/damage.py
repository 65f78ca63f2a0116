"""Files as a failing disk returns them."""

import json
import random
from pathlib import Path
from typing import Any

from detection.model_settings import MODEL
from detection.value_digest import with_digest


def flip_bits(path: Path, count: int = 20, seed: int = 0) -> None:
    """Flip bits of a file at random places."""
    data, rng = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(count):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def without_checksum(path: Path) -> None:
    """Leave a checked file as earlier versions wrote it."""
    path.write_bytes(path.read_bytes()[: -len("\nsha256 \n") - 64])


def write_model_settings(folder: Path, values: dict[str, Any]) -> None:
    """Write a model.json of any values, with their digest."""
    (folder / MODEL).write_text(json.dumps(with_digest(values)))
