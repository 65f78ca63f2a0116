"""The numbers of image classification, each with its source."""

from __future__ import annotations

from dataclasses import dataclass

CROP = 224  # pixels: side of the crops that networks are trained on; paper section 3.1
SHORT_SIDE = 256  # pixels: that photos are resized to before they are cropped; section 3.1
MULTI_VIEW_SCALES = (224, 256, 300, 360, 448, 560)  # short sides in pixels; section 3.1.5
PYRAMIDS = {"21": (1, 2, 4), "30": (1, 2, 3, 4), "50": (1, 2, 3, 6)}
"""Levels by their number of bins: Figure 3, section 3.1.3, and that of the paper's results."""
NO_PYRAMID = (6,)  # the 6 x 6 bins of a network without SPP, pool5 of a 13 x 13 map; section 3.1


@dataclass(frozen=True)
class TrainConfig:
    """Training by gradient descent; section 3.1 and, where it says nothing, Krizhevsky et al. (2012)."""

    sizes: tuple[int, ...] = (CROP,)  # pixels a side that crops are resized to, epoch by epoch in turn; section 2.3
    random_size: bool = False  # each epoch draws a size between the first and the last of them
    epochs: int = 70
    batch: int = 128  # photos, of all processes together
    rate: float = 0.01
    patience: int | None = None  # epochs without a lower loss that divide the rate by 10, twice; None: `drops`
    drops: tuple[float, ...] = (0.6, 0.85)  # parts of the epochs after which the rate is divided by 10
    momentum: float = 0.9
    weight_decay: float = 5e-4  # of weights, not of biases
    mirror: bool = True
    colour: float = 0.1  # standard deviation of the shift along the principal components of colour, in theirs
