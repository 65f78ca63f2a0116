"""The views of `sppnet visualize`: functions from settings to a picture and the facts that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class View:
    """A picture and what it shows.

    Attributes:
        picture: uint8 RGB (H, W, 3).
        facts: plain values for json.
    """

    picture: NDArray[np.uint8]
    facts: dict[str, Any]
