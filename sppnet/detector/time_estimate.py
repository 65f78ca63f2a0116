"""How long a training takes on this machine: a few photos are measured, the rest follows from the number of windows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from detection import network
from detection.config import PAPER
from detection.features import FeaturePyramid, apply_pooled, compute_pyramid, place
from detection.image import read
from detection.linear_detectors import LinearDetectors
from detection.network import ConvBody
from detection.networks.bfloat16 import dtype_of
from detection.networks.fc_head import BOTH
from detection.parallel import single_threaded_torch
from proposals import sources
from sppnet.detector.finetuning import parse_schedule
from sppnet.detector.proposals import search_of
from sppnet.run import Run, names_file
from sppnet.settings.detector import Features
from sppnet.settings.train import TrainSettings

PROBED = 2  # photos
REPEATS = 2  # of which the fastest counts
SIDE = 688  # short side in pixels at which a photo is convolved
USUAL = 2000  # windows per photo in files of boxes
BATCH, WIDTH = 512, 1024  # windows and outputs of the product that is measured

# Seconds of one processor that are not measured: rough figures from trainings of 300 and 5,000 photos.
SHARE = 0.8  # of the processors that work at a time, on average
CONVOLVED = 0.6  # of the time of the photo that is measured, which is the first
STORED = 0.08  # per photo, reading it and storing its maps, for one million pixels
COMPRESSED = 0.55  # of the time of fc6, where it is compressed
PASSED, PASSED_LATER = 0.35, 0.12  # share of windows that SVMs on pool5 leave to those on fc7, in mining and afterwards
PREPARED, BEGUN = 0.13, 8.0  # of SVM training, besides scores: per photo, and once
READ, READ_ALL = 0.005, 0.05  # per map that fine-tuning reads, in a subspace and on all of pool5
DRAWN = 500  # maps that a block of batches is drawn from on all of pool5, if there are so many
PROJECTED = 1.7  # products with a subspace, of those of fc6
SPANNED = 5.0  # making a subspace of 2,048 windows
STEP, STEPS = 0.015, 4.0  # of fine-tuning: fixed, and per product of its batch
SOLVED = 0.02  # per object; twice as much with SHARED classes
SHARED = 30
REGRESSED = 0.015  # per photo and class
RETRAINED = 0.1  # share of SOLVED that probabilities take, for each of PARTS
PARTS = 4
JUDGED = (1.4, 0.05)  # per photo: factor on the time of its scores, and further seconds
HELD_OUT = 0.15  # share of the photos
T = TypeVar("T")


@dataclass(frozen=True)
class Work:
    """What a training works on.

    Attributes:
        photos: number of training photos.
        test_photos: number of test photos.
        objects: number of objects in the training photos.
        classes: number of classes with objects.
    """

    photos: int
    test_photos: int
    objects: int
    classes: int


@dataclass(frozen=True)
class Machine:
    """What photos of a data set cost on this machine. Seconds are those of one processor.

    Attributes:
        cores: number of processors.
        search: per photo, for its windows.
        windows: mean number of windows per photo.
        convolve: per photo, for its feature maps, for one million pixels of a square of the short side.
        pool: per window, pooling and the product with one SVM.
        pool_for_layers: the same in the precision of fully connected layers.
        product: per window, fc6 with `WIDTH` outputs.
        length: of a pooled vector.
    """

    cores: int
    search: float
    windows: float
    convolve: float
    pool: float
    pool_for_layers: float
    product: float
    length: int

    def estimate(self, s: TrainSettings, work: Work) -> dict[str, float]:
        """Return the seconds of each stage, for settings without open ones."""
        assert s.scales
        layers, views = s.features != "pool5", 1
        convolve = (CONVOLVED * self.convolve + STORED) * sum(side * side for side in s.scales) / 1e6
        found = {"windows": (work.photos + work.test_photos) * self.search, "features": 0.0}
        if layers and s.head is None:
            views = len(s.learned_views)
            found["fully connected layers"] = self._finetuning(s, work.photos * views)
        found["features"] = (views * work.photos + work.test_photos) * convolve
        mined, judged = self._scoring(s.features, PASSED), self._scoring(s.features, PASSED_LATER)
        solved = SOLVED * work.objects * (1 + work.classes / SHARED) if s.features in ("pool5", BOTH) else 0.0
        found["SVMs"] = BEGUN + work.photos * (mined + PREPARED) + solved
        if s.bbox_regression:
            found["box regressors"] = REGRESSED * work.photos * work.classes
        judged = JUDGED[0] * judged + JUDGED[1]
        if s.calibrate:
            found["probabilities"] = HELD_OUT * work.photos * judged + PARTS * RETRAINED * solved
        found["test"] = work.test_photos * judged
        return {stage: seconds / (SHARE * self.cores) for stage, seconds in found.items()}

    def _scoring(self, features: Features | None, passed: float) -> float:
        """Seconds of the scores of a photo, where SVMs on pool5 leave a share of the windows to those on fc7."""
        if features == "pool5":
            return self.windows * self.pool
        passed = passed if features == BOTH else 1.0
        return self.windows * (self.pool_for_layers + passed * COMPRESSED * self.product)

    def _finetuning(self, s: TrainSettings, maps: int) -> float:
        """Seconds of fine-tuning on so many maps."""
        iterations = sum(count for count, _ in parse_schedule(s.schedule or "short", PAPER.finetune))
        windows = iterations * (PAPER.finetune.positives + PAPER.finetune.negatives)
        assert s.block
        blocks = -(-iterations // s.block)
        if not s.subspace:
            return READ_ALL * blocks * min(maps, DRAWN) + STEPS * windows * self.product
        project = PROJECTED * windows * self.product * s.subspace / WIDTH
        step = STEP * iterations + STEPS * windows * self.product * (s.subspace + WIDTH) / self.length
        return READ * (blocks + 1) * maps + project + step + SPANNED * (s.subspace / 2048) ** 2


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
        with single_threaded_torch() as cores:
            photos = [read(record.path, record.size) for record in records]
            body = network.build(s.backbone or "lite0", s.weights or "pretrained", s.device, s.precision or "fp32")
            searched = [_search(photo, run, s) for photo in photos]
            convolve, pyramid = _convolve(photos[0], body)
            dtype = dtype_of(s.precision or "fp32", torch.device("cpu"))
            (pool, length), (for_layers, _) = (_pool(pyramid, searched[0][1], d) for d in (None, dtype))
            product = _product(length, dtype)
    except (OSError, ValueError):
        return None
    search = float(np.mean([seconds for seconds, _ in searched]))
    windows = float(np.mean([len(boxes) for _, boxes in searched]))
    ratio = float(np.mean([max(record.size) / min(record.size) for record in run.train]))
    convolve *= ratio if body.device.type == "cpu" else ratio * cores
    return Machine(cores, search, windows, convolve, pool, for_layers, product, length)


def _search(photo: NDArray[np.uint8], run: Run, s: TrainSettings) -> tuple[float, NDArray[np.float32]]:
    """Seconds of the search for windows of a photo, and the windows."""
    if s.proposals and names_file(s.proposals):
        corners = np.random.default_rng(0).random((USUAL, 2, 2)) * (photo.shape[1] - 1, photo.shape[0] - 1)
        return 0.0, np.sort(corners, axis=1).reshape(-1, 4).astype(np.float32)
    search = search_of(s, run)
    return _timed(lambda: sources.propose(photo, search))


def _convolve(photo: NDArray[np.uint8], body: ConvBody) -> tuple[float, FeaturePyramid]:
    """Seconds per million pixels of a photo's feature maps, and the maps."""
    seconds, pyramid = _timed(lambda: compute_pyramid(photo, body, (SIDE,)), body.device)
    height, width = pyramid.image_size
    return seconds * 1e6 / (SIDE * SIDE * max(height, width) / min(height, width)), pyramid


def _pool(pyramid: FeaturePyramid, windows: NDArray[np.float32], dtype: torch.dtype | None) -> tuple[float, int]:
    """Seconds per window of pooling and one SVM, and the length of a pooled vector; `dtype` as of `apply_pooled`."""
    pooling = replace(PAPER.pooling, scales=(SIDE,))
    length = len(pyramid.maps[0]) * pooling.bins
    svm = LinearDetectors(np.ones((1, length), np.float32), np.zeros(1, np.float32), 1.0)
    cells = place(pyramid, windows, pooling).cells
    seconds, _ = _timed(lambda: apply_pooled(svm.scores, pyramid, cells, pooling, dtype))
    return seconds / max(1, len(windows)), length


def _product(length: int, dtype: torch.dtype) -> float:
    """Seconds per window of fc6."""
    vectors, weights = torch.rand(BATCH, length).to(dtype), torch.rand(length, WIDTH).to(dtype)
    return _timed(lambda: (vectors @ weights).sum().item())[0] / BATCH


def _timed(work: Callable[[], T], device: torch.device | None = None) -> tuple[float, T]:
    """The shortest of `REPEATS` times in seconds, and the result.

    They are the processor's time, which other programs hardly change; on a GPU, those of a clock.
    """
    clock = time.perf_counter if device is not None and device.type == "cuda" else time.process_time
    times = []
    for _ in range(REPEATS):
        started = clock()
        result = work()
        times.append(clock() - started)
    return min(times), result
