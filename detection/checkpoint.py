"""What an interrupted SVM training continues from: which windows are held, and the SVMs, but no features."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.config import SVMConfig
from detection.samples import TrainingImages
from detection.solver import SharedState

log = logging.getLogger(__name__)

FILE = "checkpoint.npz"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State of a mining pass after `next_image` images.

    Attributes:
        key: `fingerprint` of the training it belongs to.
        image, box: int64 (N,), keys of the held windows; -1 for free slots.
        state: labels, dual variables and weights.
        feature_scale: of the training.
        new: int64 (K,), negatives since each class was last trained.
        trainings: how many there were.
        next_image: the first image not yet visited.
    """

    key: str
    image: NDArray[np.int64]
    box: NDArray[np.int64]
    state: SharedState
    feature_scale: float
    new: NDArray[np.int64]
    trainings: int
    next_image: int


def fingerprint(images: TrainingImages, config: SVMConfig, options: tuple[object, ...]) -> str:
    """Digest of all that decides the result of a training: images, windows, features, constants."""
    digest = hashlib.sha256(repr((asdict(config), options, images.pooling, images.cache.manifest)).encode())
    for record in images.records:
        digest.update(record.id.encode())
        for array in (record.boxes, record.labels, record.difficult, images.proposals[record.id]):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write atomically to `folder`.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{FILE}.{os.getpid()}"
    values = {k: v for k, v in vars(checkpoint).items() if k != "state"} | vars(checkpoint.state)
    try:
        with temporary.open("wb") as file:
            np.savez(file, **values)
        temporary.replace(folder / FILE)
    finally:
        temporary.unlink(missing_ok=True)


def load(folder: Path, key: str) -> Checkpoint | None:
    """The checkpoint of the training with this key, or None if there is none; one of another is left aside."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        if str(values["key"]) != key:
            log.warning("%s belongs to a training with other settings or data; starting anew", path)
            return None
        names = ("labels", "alpha", "squares", "weights", "bias_weights")
        state = SharedState(**{name: values[name] for name in names})
        return Checkpoint(
            key, values["image"], values["box"], state, float(values["feature_scale"]), values["new"],
            int(values["trainings"]), int(values["next_image"]),
        )  # fmt: skip
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged (%s); starting anew", path, error)
        return None


def remove(folder: Path) -> None:
    """Drop the checkpoint of a finished training."""
    (folder / FILE).unlink(missing_ok=True)
