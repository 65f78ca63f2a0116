"""What an interrupted SVM training continues from: which windows are held, and the SVMs, but no features."""

from __future__ import annotations

import hashlib
import io
import logging
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.bbox_regression import BoxRegressor
from detection.config import SVMConfig
from detection.files import write_atomically
from detection.training.images import TrainingImages
from detection.training.solver import SharedState

log = logging.getLogger(__name__)

FILE = "checkpoint.npz"
POOLED = 2  # order of the numbers in a pooled vector; another means other trainings


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
    features = (POOLED, images.pooling, images.cache.manifest, images.fc.digest if images.fc else None)
    digest = hashlib.sha256(repr((asdict(config), options, *features)).encode())
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
    values = {k: v for k, v in vars(checkpoint).items() if k != "state"} | vars(checkpoint.state)
    buffer = io.BytesIO()
    np.savez(buffer, **values)
    write_atomically(folder / FILE, [buffer.getvalue()])


def load(folder: Path, key: str) -> Checkpoint | None:
    """The checkpoint of the training with this key, or None if there is none; one of another is left aside."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
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


class RegressorParts:
    """The box regressors trained so far, one file a class, so that an interrupted training goes on.

    Args:
        folder: where they lie.
        key: of the training; files of another one are not used.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key

    def get(self, k: int, train: Callable[[], BoxRegressor | None]) -> BoxRegressor | None:
        """The regressor of class k, None for a class without windows; trained if it is not there yet."""
        path = self.folder / f"regressor-{k}.npz"
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                if str(file["key"]) == self.key:
                    return BoxRegressor(file["weights"], file["mean"]) if len(file["mean"]) else None
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            pass  # absent or damaged: train it
        regressor = train()
        weights, mean = (regressor.weights, regressor.mean) if regressor else (np.zeros(0), np.zeros(0))
        buffer = io.BytesIO()
        np.savez(buffer, key=self.key, weights=weights, mean=mean)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, [buffer.getvalue()])
        return regressor


def remove(folder: Path) -> None:
    """Drop the checkpoint of a finished training of SVMs."""
    (folder / FILE).unlink(missing_ok=True)


def remove_regressors(folder: Path) -> None:
    """Drop the files of a finished training of box regressors."""
    for path in folder.glob("regressor-*.npz"):
        path.unlink()
