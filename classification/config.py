"""Constants of image classification and settings of training, each with its source. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

CROP = 224  # pixels: side of the crops that networks are trained on; paper section 3.1
SHORT_SIDE = 256  # pixels: photos are resized to this short side before they are cropped; section 3.1
MULTI_VIEW_SCALES = (224, 256, 300, 360, 448, 560)  # short sides in pixels of the "maps" view; section 3.1.5
PYRAMIDS = {"21": (1, 2, 4), "30": (1, 2, 3, 4), "50": (1, 2, 3, 6)}
"""Bins per side of each level, by total number of bins: Figure 3, section 3.1.3, and the paper's results."""
NO_PYRAMID = (6,)  # the 6 x 6 bins of a network without SPP, pool5 of a 13 x 13 map; section 3.1

Layer = Literal["conv4", "conv5", "6x6", "spp", "fc6", "fc7"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
"""Layers whose outputs can represent a photo; see `Extractor.vectors`."""
ViewKind = Literal["crop", "warp", "full", "ten", "maps", "maps+full"]
VIEWS: tuple[ViewKind, ...] = get_args(ViewKind)
"""Parts of a photo that can be shown to a network; see `View`."""


@dataclass(frozen=True)
class TrainConfig:
    """Training by gradient descent; section 3.1 and, where it says nothing, Krizhevsky et al. (2012)."""

    sizes: tuple[int, ...] = (CROP,)  # side in pixels of training images, one per epoch in turn; section 2.3
    random_size: bool = False  # draw the size of each epoch between the smallest and the largest of them
    epochs: int = 70
    batch: int = 32  # photos per step, all processes together; Krizhevsky et al. used 128
    rate: float = 0.01  # initial learning rate
    patience: int | None = None  # divide the rate by 10 after this many epochs without a lower loss; None: use `drops`
    drops: tuple[float, ...] = (0.6, 0.85)  # fractions of the epochs after which the rate is divided by 10
    momentum: float = 0.9
    weight_decay: float = 5e-4  # of weights; biases do not decay
    mirror: bool = True  # mirror half of the views
    colour: float = 0.1  # std of the colour shift, in standard deviations along each principal component of colour
