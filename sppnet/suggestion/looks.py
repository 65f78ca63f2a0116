"""What photos look like to the convolutions, and how unsure a detector is about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from detection import parallel, spp
from detection.detector import SPPDetector
from detection.features import compute_pyramid
from detection.image import read
from detection.memory import kept_flat
from detection.network import ConvBody
from sppnet.suggestion.uncertainty import uncertainty_of

SIDE = 320
"""Short side in pixels at which photos are compared: a quarter of the convolutions of a detector at 688."""

OnBad = Callable[[Path, Exception], None]
Seen = tuple[Path, NDArray[np.uint8], float]
"""A photo, its pixels, and the uncertainty of the detector."""


@dataclass(frozen=True, eq=False)
class Looks:
    """What N photos look like.

    Attributes:
        paths: the photos.
        vectors: float32 (N, C), means of the feature maps, of length 1.
        uncertainties: float64 (N,); zeros without a detector.
    """

    paths: list[Path]
    vectors: NDArray[np.float32]
    uncertainties: NDArray[np.float64]


def look_at(
    paths: Iterable[Path],
    body: ConvBody,
    detector: SPPDetector | None,
    on_bad: OnBad,
    on_photo: Callable[[], object] = lambda: None,
) -> Looks:
    """Look at photos one by one; only their vectors are kept.

    Args:
        paths: the photos.
        body: the convolutions.
        detector: detects in each photo; None: uncertainties are 0.
        on_bad: called with a photo that cannot be used, which is left out, and the reason.
        on_photo: called after each of the others, for progress.
    """
    kept: list[Path] = []
    vectors: list[NDArray[np.float32]] = []
    uncertainties: list[float] = []
    for path, pixels, uncertainty in _seen(paths, on_bad) if detector is None else _judged(paths, detector, on_bad):
        try:
            vectors.append(vector_of(compute_pyramid(pixels, body, (SIDE,)).maps[0]))
        except ValueError as error:
            on_bad(path, error)
            continue
        kept.append(path)
        uncertainties.append(uncertainty)
        on_photo()
    empty = np.zeros((0, body.channels), np.float32)
    return Looks(kept, np.stack(vectors) if vectors else empty, np.array(uncertainties, np.float64))


def vector_of(cells: spp.Array) -> NDArray[np.float32]:
    """Return the mean of a feature map (C, h, w) over its cells, of length 1: float32 (C,); zeros stay zeros."""
    mean = torch.as_tensor(cells).float().mean(dim=(1, 2)).cpu().numpy()
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / (length or 1.0), np.float32)


def _seen(paths: Iterable[Path], on_bad: OnBad) -> Iterator[Seen]:
    """Photos, read in the background."""
    for path, photo in kept_flat(parallel.ahead(read, paths)):
        try:
            pixels = photo.result()
        except (OSError, ValueError) as error:
            on_bad(path, error)
            continue
        yield path, pixels, 0.0


def _judged(paths: Iterable[Path], detector: SPPDetector, on_bad: OnBad) -> Iterator[Seen]:
    """Photos after a detector has looked at them."""

    def bad(path: object, error: Exception) -> None:
        assert isinstance(path, Path)
        on_bad(path, error)

    for path, found in detector.detect_each(paths, bad):
        assert isinstance(path, Path)
        assert isinstance(found.photo, np.ndarray)
        yield path, found.photo, uncertainty_of(found)
