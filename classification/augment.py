"""Training augmentation: a random crop, mirrored or not, with shifted colours (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from classification.config import CROP
from detection.image import Preprocessing, pixels_of

PIXELS_PER_PHOTO = 2_000  # sampled for the principal components of colour
Photo = NDArray[np.uint8]


def crop_positions(size: tuple[int, int], crop: int = CROP) -> list[tuple[int, int]]:
    """Return (top, left) of the five crops of an image of (H, W) pixels: the centre first, then the four corners.

    Raises:
        ValueError: the image is smaller than the crop.
    """
    low, right = size[0] - crop, size[1] - crop
    if min(low, right) < 0:
        raise ValueError(
            f"image of {size[0]} x {size[1]} pixels is smaller than the {crop}-pixel crop; "
            f"resize it to a short side of {crop} or more"
        )
    return [(low // 2, right // 2), (0, 0), (0, right), (low, 0), (low, right)]


def cut(image: Photo, place: tuple[int, int], crop: int = CROP) -> Photo:
    """Cut the crop at (top, left) out of an image: uint8 (H, W, 3) -> (crop, crop, 3)."""
    top, left = place
    return image[top : top + crop, left : left + crop]


@dataclass(frozen=True, eq=False)
class ColourComponents:
    """Principal components of the RGB values of photos; training shifts colours along them (Krizhevsky et al. 2012).

    Attributes:
        axes: float64 (3, 3), one component per column, in RGB units of 0..255. The length of a column is the standard
            deviation along it.
    """

    axes: NDArray[np.float64]

    @classmethod
    def fit(cls, photos: Iterable[Photo], seed: int = 0) -> ColourComponents:
        """Compute the components from `PIXELS_PER_PHOTO` random pixels of each photo, uint8 (H, W, 3)."""
        rng, total, squares, count = np.random.default_rng(seed), np.zeros(3), np.zeros((3, 3)), 0
        for photo in photos:
            pixels = photo.reshape(-1, 3)
            some = pixels[rng.integers(len(pixels), size=PIXELS_PER_PHOTO)].astype(np.float64)  # (P, 3)
            total, squares, count = total + some.sum(axis=0), squares + some.T @ some, count + len(some)
        mean = total / max(1, count)
        values, vectors = np.linalg.eigh(squares / max(1, count) - np.outer(mean, mean))
        return cls(vectors * np.sqrt(values.clip(0)))

    def draw(self, rng: np.random.Generator, std: float) -> NDArray[np.float64]:
        """Draw a colour shift: float64 (3,), RGB in units of 0..255."""
        shift: NDArray[np.float64] = self.axes @ rng.normal(0, std, 3)
        return shift


@dataclass(frozen=True, eq=False)
class Augmentation:
    """Random view of a photo; the same generator state gives the same view.

    Attributes:
        preprocessing: the network's preprocessing.
        colours: colour components of the training photos; None leaves colours unchanged.
        colour_std: standard deviation of the shift, in standard deviations along each component.
        mirror: whether half of the views are mirrored.
    """

    preprocessing: Preprocessing
    colours: ColourComponents | None = None
    colour_std: float = 0.1
    mirror: bool = True

    def __call__(self, photo: Photo, size: int, rng: np.random.Generator) -> torch.Tensor:
        """Return a random view: the 224-pixel crop resized to `size`, not a smaller crop (section 2.3).

        Args:
            photo: uint8 RGB (H, W, 3), with sides of 224 pixels or more; usually a short side of 256.
            size: side of the view in pixels.
            rng: generator that draws crop, mirroring and colour shift.

        Returns:
            float32 (3, size, size), preprocessed.
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
