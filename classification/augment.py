"""What training sees of a photo: one of ten crops, mirrored or not, its colours shifted (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from classification.config import CROP
from detection.image import Preprocessing, pixels_of

PIXELS_A_PHOTO = 2_000  # of which the principal components of colour are taken
Photo = NDArray[np.uint8]


def crop_positions(size: tuple[int, int], crop: int = CROP) -> list[tuple[int, int]]:
    """(top, left) of the five crops: centre, then corners of the entire image of (H, W) pixels.

    Raises:
        ValueError: the image is smaller than the crop.
    """
    low, right = size[0] - crop, size[1] - crop
    if min(low, right) < 0:
        raise ValueError(f"image of {size[0]} x {size[1]} pixels: too small for a crop of {crop}")
    return [(low // 2, right // 2), (0, 0), (0, right), (low, 0), (low, right)]


def cut(image: Photo, place: tuple[int, int], crop: int = CROP) -> Photo:
    """uint8 (H, W, 3) -> the (crop, crop, 3) at (top, left)."""
    top, left = place
    return image[top : top + crop, left : left + crop]


@dataclass(frozen=True, eq=False)
class ColourComponents:
    """Principal components of the colours of photos, along which training shifts them: Krizhevsky et al. (2012).

    Attributes:
        axes: float64 (3, 3), a column a component, RGB in 0..255, as long as the standard deviation along it.
    """

    axes: NDArray[np.float64]

    @classmethod
    def fit(cls, photos: Iterable[Photo], seed: int = 0) -> ColourComponents:
        """Of some pixels of each photo, uint8 (H, W, 3)."""
        rng, total, squares, count = np.random.default_rng(seed), np.zeros(3), np.zeros((3, 3)), 0
        for photo in photos:
            pixels = photo.reshape(-1, 3)
            some = pixels[rng.integers(len(pixels), size=PIXELS_A_PHOTO)].astype(np.float64)  # (P, 3)
            total, squares, count = total + some.sum(axis=0), squares + some.T @ some, count + len(some)
        mean = total / max(1, count)
        values, vectors = np.linalg.eigh(squares / max(1, count) - np.outer(mean, mean))
        return cls(vectors * np.sqrt(values.clip(0)))

    def draw(self, rng: np.random.Generator, std: float) -> NDArray[np.float64]:
        """A shift of (R, G, B), in 0..255."""
        shift: NDArray[np.float64] = self.axes @ rng.normal(0, std, 3)
        return shift


@dataclass(frozen=True, eq=False)
class Augmentation:
    """One random view of a photo, the same for the same generator.

    Attributes:
        preprocessing: of the network.
        colours: of the training photos; None: colours stay.
        colour_std: of their shift, in standard deviations.
        mirror: half of the views are mirrored.
    """

    preprocessing: Preprocessing
    colours: ColourComponents | None = None
    colour_std: float = 0.1
    mirror: bool = True

    def __call__(self, photo: Photo, size: int, rng: np.random.Generator) -> torch.Tensor:
        """The 224-pixel crop resized to `size`, not a smaller crop (section 2.3).

        Args:
            photo: uint8 RGB (H, W, 3), its short side 256 or what crops are cut from.
            size: pixels a side of the result.
            rng: of this view.

        Returns:
            float32 (3, size, size).
        """
        places = crop_positions(photo.shape[:2])
        view = cut(photo, places[rng.integers(len(places))])
        if self.mirror and rng.integers(2):
            view = view[:, ::-1]
        shift = self.colours.draw(rng, self.colour_std) if self.colours else None
        if size != CROP:
            view = pixels_of(cv2.resize(view, (size, size), interpolation=cv2.INTER_LINEAR))
        tensor = self.preprocessing(np.ascontiguousarray(view))
        return tensor if shift is None else tensor + self.preprocessing.shift(shift)
