"""Photos as training reads them: decoded once, viewed anew each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from classification.augment import Augmentation, crop_positions, cut
from classification.config import CROP, SHORT_SIDE
from detection import image as pixels
from detection.image import Preprocessing

MIN_SIDE = 16  # pixels: of a photo's shorter side; what is smaller shows nothing that could be told
Key = tuple[int, int, int]  # epoch, size, photo


def read(path: Path) -> NDArray[np.uint8]:
    """A photo, uint8 RGB (H, W, 3).

    Raises:
        OSError, ValueError: it cannot be decoded, or is too small.
    """
    photo = pixels.read(path)
    check_size(photo, str(path))
    return photo


def check_size(photo: NDArray[np.uint8], name: str) -> None:
    """Refuse a photo of a few pixels.

    Raises:
        ValueError: it is one.
    """
    height, width = photo.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"{name}: {width} x {height} pixels; photos of {MIN_SIDE} or more a side can be classified")


class DecodedPhotos:
    """N photos at a short side of 256 pixels, kept in memory as far as it goes.

    Args:
        paths: of the photos.
        memory: bytes for them; the others are decoded each time they are asked for.

    Raises:
        ValueError: photos cannot be used; those that would be kept are named at once.
    """

    def __init__(self, paths: Sequence[Path], memory: float = 2e9) -> None:
        self.paths, self._left = paths, memory
        bad: list[str] = []
        with ThreadPoolExecutor() as threads:
            self._kept = list(threads.map(lambda path: self._decode(path, bad), paths))
        if bad:
            raise ValueError(f"{len(bad)} of {len(paths)} photos cannot be used: {'; '.join(sorted(bad)[:3])}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """uint8 RGB (H, W, 3)."""
        kept = self._kept[index]
        return resized(self.paths[index]) if kept is None else kept

    def _decode(self, path: Path, bad: list[str]) -> NDArray[np.uint8] | None:
        """The photo, if there is room for it."""
        if self._left <= 0:
            return None
        try:
            photo = resized(path)
        except (OSError, ValueError) as error:
            bad.append(str(error))
            return None
        self._left -= photo.nbytes
        return photo if self._left > 0 else None


def resized(path: Path) -> NDArray[np.uint8]:
    """A photo at a short side of 256 pixels."""
    return pixels.resize_short_side(read(path), SHORT_SIDE)


class TrainingViews(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Random views of photos: the same for the same seed, epoch and photo, whoever asks and in whatever order."""

    def __init__(self, photos: DecodedPhotos, labels: NDArray[np.int64], augment: Augmentation, seed: int) -> None:
        self.photos, self.labels, self.augment, self.seed = photos, labels, augment, seed

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, int]:
        """float32 (3, size, size) and its label."""
        epoch, size, index = key
        rng = np.random.default_rng([self.seed, epoch, index])
        return self.augment(self.photos[index], size, rng), int(self.labels[index])


class CentreViews(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """The 224-pixel centre of each photo."""

    def __init__(self, photos: DecodedPhotos, labels: NDArray[np.int64], preprocessing: Preprocessing) -> None:
        self.photos, self.labels, self.preprocessing = photos, labels, preprocessing

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, int]:
        """float32 (3, 224, 224) and its label."""
        photo = self.photos[key[2]]
        view = cut(photo, crop_positions(photo.shape[:2])[0], CROP)
        return self.preprocessing(np.ascontiguousarray(view)), int(self.labels[key[2]])


def batches(count: int, batch: int, rank: int, processes: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Places of one process' part of each batch, and how many the whole batch has.

    Batches have `batch` photos or a little less, all nearly the same number. None has a single photo, which has no
    statistics to be normalised by, unless `batch` is 1; one more than `batch` rather.

    Raises:
        ValueError: there are fewer photos in a batch than processes.
    """
    parts = -(-count // batch)
    for whole in np.array_split(np.arange(count), parts if batch == 1 else min(parts, max(1, count // 2))):
        if len(whole) < processes:
            raise ValueError(f"{len(whole)} photos a batch for {processes} processes; give a larger --batch")
        yield whole[rank::processes], len(whole)
