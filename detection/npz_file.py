"""NumPy archives (.npz) of any origin."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_npz(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """Read all arrays of an archive; no pickled objects.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or no archive of arrays.
    """
    data = Path(path).read_bytes()
    try:
        with np.load(BytesIO(data), allow_pickle=False) as archive:
            return dict(archive)
    except Exception as error:  # of whatever kind the parsers of NumPy, zip and zlib run into
        raise ValueError((str(error).splitlines() or [type(error).__name__])[0]) from error
