"""The work on one photo of feature extraction, as an engine does it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from data.records import ImageRecord
from detection import features, network, parallel
from detection import image as pixels
from detection.cache import FeatureCache
from detection.engines.engine import WorkerLost


class Convolver:
    """What convolves images into a cache, in this process or as one of many workers.

    Args:
        body: the convolutions. Workers build their own, which must have the same weights.
        weights: "pretrained" or a file.
        device: of the workers' convolutions.
        cache: takes the maps.
        skip_bad: leave images out that cannot be used.
    """

    def __init__(
        self, body: network.ConvBody, weights: str | Path, device: str, cache: FeatureCache, skip_bad: bool
    ) -> None:
        self.body: network.ConvBody | None = body
        self.cache, self.skip_bad = cache, skip_bad
        self._plan = (body.name, weights, device, body.precision)
        self._weights_hash = body.weights_hash

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "body": None}

    def __call__(self) -> Callable[[ImageRecord], str | None]:
        """Return the function of an image, see `Make`.

        Raises:
            RuntimeError: this worker has other weights.
        """
        body = self.body or network.build(*self._plan)
        if body.weights_hash != self._weights_hash:
            raise RuntimeError(
                f"worker {platform.node()}: {body.name} has weights {body.weights_hash[:12]} there and "
                f"{self._weights_hash[:12]} here; remove them there, so that they are downloaded again"
            )
        return partial(_convolve, body=body, cache=self.cache, skip_bad=self.skip_bad)

    @property
    def threads(self) -> int:
        """Threads that convolve in this process: on a CPU as many as torch has."""
        assert self.body is not None
        return parallel.thread_count() if self.body.device.type == "cpu" else 1


def _convolve(record: ImageRecord, body: network.ConvBody, cache: FeatureCache, skip_bad: bool) -> str | None:
    """Convolve one image into the cache; return why it cannot be read, if it may be skipped."""
    if record.id in cache:  # another process came first
        return None
    try:
        photo = pixels.read(record.path, record.size)
        mirrored = cache.manifest.get("mirrored", False)
        pyramid = features.compute_pyramid(photo, body, cache.manifest["scales"], mirrored)
    except (OSError, ValueError) as error:
        if not skip_bad:
            raise
        return str(error)
    features.store_pyramid(cache, record.id, pyramid)
    return None


def reason_of(record: ImageRecord, outcome: Future[str | None], skip_bad: bool) -> str | None:
    """Why an image is left out; None if it is not.

    Raises:
        WorkerLost: its worker died, and images may not be left out.
    """
    try:
        return outcome.result()
    except WorkerLost as error:
        if not skip_bad:
            advice = "leave it out with --skip-bad, or use fewer workers (-j)"
            raise WorkerLost(f"image {record.id}: {error}; {advice}") from error
        return str(error)
