"""Photos for training: decoded once, with new random views every epoch."""

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

MIN_SIDE = 16  # pixels: smallest short side of a usable photo
Key = tuple[int, int, int]  # epoch, size in pixels, index of the photo


def read(path: Path) -> NDArray[np.uint8]:
    """Decode a photo to uint8 RGB (H, W, 3).

    Raises:
        OSError, ValueError: the photo cannot be decoded, or is too small.
    """
    photo = pixels.read(path)
    check_size(photo, str(path))
    return photo


def check_size(photo: NDArray[np.uint8], name: str) -> None:
    """Check that a photo, uint8 (H, W, 3), has sides of `MIN_SIDE` or more.

    Raises:
        ValueError: the photo is smaller.
    """
    height, width = photo.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"{name}: {width} x {height} pixels is too small; use photos with sides of {MIN_SIDE} or more")


class DecodedPhotos:
    """N decoded photos, resized to a short side of 256 pixels, kept in memory as far as they fit.

    Args:
        paths: files of the N photos.
        memory: bytes available for decoded photos; the remaining photos are decoded on every access.

    Raises:
        ValueError: some of the photos that would be kept cannot be used; the message names the first three.
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
        """Return a photo, uint8 RGB (H, W, 3)."""
        kept = self._kept[index]
        return resized(self.paths[index]) if kept is None else kept

    def _decode(self, path: Path, bad: list[str]) -> NDArray[np.uint8] | None:
        """Decode a photo if there is memory left for it; append an error message to `bad` if it cannot be used."""
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
    """Decode a photo and resize it to a short side of 256 pixels: uint8 RGB (H, W, 3)."""
    return pixels.resize_short_side(read(path), SHORT_SIDE)


class TrainingViews(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Random views of photos.

    A view depends only on seed, epoch, size and photo, not on the process or the order in which views are drawn.

    Args:
        photos: N decoded photos.
        labels: int64 (N,), class of each photo.
        augment: draws a view of a photo.
        seed: random seed of the views.
    """

    def __init__(self, photos: DecodedPhotos, labels: NDArray[np.int64], augment: Augmentation, seed: int) -> None:
        self.photos, self.labels, self.augment, self.seed = photos, labels, augment, seed

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, int]:
        """Return a view, float32 (3, size, size), and its label."""
        epoch, size, index = key
        rng = np.random.default_rng([self.seed, epoch, index])
        return self.augment(self.photos[index], size, rng), int(self.labels[index])


class CentreViews(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """224-pixel centre crops of photos, for validation.

    Args:
        photos: N decoded photos.
        labels: int64 (N,), class of each photo.
        preprocessing: the network's preprocessing.
    """

    def __init__(self, photos: DecodedPhotos, labels: NDArray[np.int64], preprocessing: Preprocessing) -> None:
        self.photos, self.labels, self.preprocessing = photos, labels, preprocessing

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, int]:
        """Return the centre crop, float32 (3, 224, 224), and its label; epoch and size of the key are ignored."""
        photo = self.photos[key[2]]
        view = cut(photo, crop_positions(photo.shape[:2])[0], CROP)
        return self.preprocessing(np.ascontiguousarray(view)), int(self.labels[key[2]])


def batches(count: int, batch: int, rank: int, processes: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Split `count` photos into batches, and yield one process's part of each batch.

    All batches have nearly the same size, `batch` or slightly less. Unless `batch` is 1, no batch has a single photo,
    which batch normalisation cannot use; rather, a batch has one photo more than `batch`.

    Args:
        count: number of photos.
        batch: photos per batch, all processes together.
        rank: rank of this process.
        processes: number of processes.

    Yields:
        int64 (n,), positions in 0..count-1 of this process's photos, and the size of the whole batch.

    Raises:
        ValueError: a batch has fewer photos than there are processes.
    """
    parts = -(-count // batch)
    for whole in np.array_split(np.arange(count), parts if batch == 1 else min(parts, max(1, count // 2))):
        if len(whole) < processes:
            raise ValueError(
                f"a batch of {len(whole)} photos is too small for {processes} processes; give a larger --batch"
            )
        yield whole[rank::processes], len(whole)
