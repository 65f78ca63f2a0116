"""How long a training takes on this machine: a few photos are measured, the rest follows from the number of windows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from detection import network
from detection.config import PAPER, Precision
from detection.features import compute_pyramid
from detection.image import read
from detection.network import ConvBody
from detection.networks.bfloat16 import autocast
from detection.networks.fc_head import BOTH
from detection.parallel import thread_count
from proposals import sources
from sppnet.detector.finetuning import parse_schedule
from sppnet.detector.proposals import search_of
from sppnet.run import Run, names_file
from sppnet.settings.train import TrainSettings

PROBED = 3  # photos
REPEATS = 3  # of which the fastest counts
BATCH = 512  # windows of the product that is measured
WIDTH = 1024  # outputs of fc6
LENGTH = 16_000  # of a pooled vector
SIDE = 688  # short side in pixels at which a photo is convolved
USUAL = 2000  # windows per photo in files of boxes
T = TypeVar("T")

# Seconds on two cores of an AMD EPYC with bfloat16, where the product takes REFERENCE.
REFERENCE = 0.05
STEP = 0.075  # per iteration of fine-tuning
MINED = {"pool5": 0.045, "fc7": 0.055}  # per photo and thousand windows of the training of SVMs
SOLVED = {"pool5": 0.02, "fc7": 0.004}  # per photo and class
REGRESSED = 4.0  # per class, box regressors
HELD_OUT = 0.1  # share of training photos, at most 500, times TESTED: probabilities
TESTED = {"pool5": 0.10, "fc7": 0.15}  # per photo


@dataclass(frozen=True)
class Machine:
    """What photos of a data set cost on this machine, with all its processors.

    Attributes:
        search: seconds per photo for its windows.
        windows: mean number of windows per photo.
        convolve: seconds per photo for its feature maps, for one million pixels of a square of the short side.
        slowness: how many times as long as on the machine of the constants above matrix products take.
    """

    search: float
    windows: float
    convolve: float
    slowness: float

    def estimate(self, s: TrainSettings, photos: int, test_photos: int, classes: int) -> dict[str, float]:
        """Return the seconds of each stage.

        Args:
            s: settings without open ones.
            photos: number of training photos.
            test_photos: number of test photos.
            classes: number of classes with objects.
        """
        assert s.scales
        convolve = self.convolve * sum(side * side for side in s.scales) / 1e6
        parts = ("pool5", "fc7") if s.features == BOTH else ("pool5",) if s.features == "pool5" else ("fc7",)
        found = {
            "windows": (photos + test_photos) * self.search,
            "features": (photos + test_photos) * convolve,
        }
        if s.features != "pool5" and s.head is None:
            further = len(s.learned_views) - 1
            iterations = sum(count for count, _ in parse_schedule(s.schedule or "short", PAPER.finetune))
            found["features"] += further * photos * convolve
            found["fully connected layers"] = self.slowness * STEP * iterations
        mined = sum(MINED[p] * self.windows / 1000 + SOLVED[p] * classes for p in parts)
        found["SVMs"] = self.slowness * photos * mined
        if s.bbox_regression:
            found["box regressors"] = self.slowness * REGRESSED * classes
        tested = self.slowness * sum(TESTED[p] for p in parts)
        if s.calibrate:
            found["probabilities"] = tested * min(500, HELD_OUT * photos)
        found["test"] = tested * test_photos
        return found


def measure(run: Run, s: TrainSettings) -> Machine | None:
    """Search, convolve and multiply for a few training photos.

    Args:
        run: names the training split.
        s: settings without open ones; those of the network and of the windows count.

    Returns:
        what the photos cost; None if a photo cannot be read or the network cannot be built, which the stages tell.
    """
    records = [run.train.records[i] for i in np.unique(np.linspace(0, len(run.train) - 1, PROBED).astype(int))]
    try:
        photos = [read(record.path, record.size) for record in records]
        body = network.build(s.backbone or "lite0", s.weights or "pretrained", s.device, s.precision or "fp32")
        searched = [_search(photo, run, s) for photo in photos]
        convolve = _convolve(photos[0], body)
    except (OSError, ValueError):
        return None
    search, windows = (float(np.mean(values)) for values in zip(*searched, strict=True))
    ratio = float(np.mean([max(record.size) / min(record.size) for record in run.train]))
    return Machine(search, windows, convolve * ratio, _product(body.device, s.precision) / REFERENCE)


def _search(photo: NDArray[np.uint8], run: Run, s: TrainSettings) -> tuple[float, int]:
    """Seconds and number of the windows of a photo."""
    if s.proposals and names_file(s.proposals):
        return 0.0, USUAL
    search = search_of(s, run)
    seconds, boxes = _timed(lambda: sources.propose(photo, search, thread_count()))
    return seconds, len(boxes)


def _convolve(photo: NDArray[np.uint8], body: ConvBody) -> float:
    """Seconds per million pixels of a photo's feature maps."""
    seconds, pyramid = _timed(lambda: compute_pyramid(photo, body, (SIDE,)))
    height, width = pyramid.image_size
    return seconds * 1e6 / (SIDE * SIDE * max(height, width) / min(height, width))


def _product(device: torch.device, precision: Precision | None) -> float:
    """Seconds of fc6 on `BATCH` windows."""
    vectors, weights = torch.rand(BATCH, LENGTH, device=device), torch.rand(LENGTH, WIDTH, device=device)
    with autocast(device, precision == "bf16"):
        return _timed(lambda: (vectors @ weights).sum().item())[0]


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    """The shortest of `REPEATS` times in seconds, and the result."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - started)
    return min(times), result
