"""Checkpoint of SVM training: which windows are held, and the SVMs; features are pooled again on resuming.

Files end in a checksum.
"""

from __future__ import annotations

import io
import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.checked_file import read_checked, write_checked
from detection.training.solver import SharedState

log = logging.getLogger(__name__)

FILE = "checkpoint.npz"
FINISHED = "finished.npz"  # the same of a finished training, from which others can continue


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State of a mining pass after `next_image` images.

    Attributes:
        key: `fingerprint` of the training.
        image: int64 (N,), the training image of each held window; -1 for a free slot.
        box: int64 (N,), the window's row among the labelled boxes of its image.
        state: labels, dual variables and weights over the N slots.
        feature_scale: factor on the features.
        new: int64 (K,), negatives of each class since its last training.
        trainings: number of trainings so far.
        next_image: the first image that was not visited.
    """

    key: str
    image: NDArray[np.int64]
    box: NDArray[np.int64]
    state: SharedState
    feature_scale: float
    new: NDArray[np.int64]
    trainings: int
    next_image: int


def save(folder: Path, checkpoint: Checkpoint, file: str = FILE) -> None:
    """Write a checkpoint atomically; the folder is created if absent.

    Args:
        folder: of the file.
        checkpoint: what is written.
        file: name of the file; that of a finished training is compressed.

    Raises:
        OSError: the file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {k: v for k, v in vars(checkpoint).items() if k != "state"} | vars(checkpoint.state)
    buffer = io.BytesIO()
    (np.savez_compressed if file == FINISHED else np.savez)(buffer, **values)
    write_checked(folder / file, buffer.getbuffer())


def load(folder: Path, key: str, file: str = FILE) -> Checkpoint | None:
    """Read the checkpoint of the training with this key.

    Args:
        folder: of the file.
        key: `fingerprint` of the training.
        file: name of the file.

    Returns:
        the checkpoint; None if there is none, or if it is of another training or, with a warning, damaged or without a
        checksum. An unfinished one of another training is worth a warning too.
    """
    path = folder / file
    if not path.is_file():
        return None
    try:
        with np.load(io.BytesIO(read_checked(path)), allow_pickle=False) as archive:
            values = {name: archive[name] for name in archive.files}
        if str(values["key"]) != key:
            if file == FILE:
                log.warning("%s belongs to a training with other settings or data; starting from the beginning", path)
            return None
        names = ("labels", "alpha", "squares", "weights", "bias_weights")
        state = SharedState(**{name: values[name] for name in names})
        return Checkpoint(
            key, values["image"], values["box"], state, float(values["feature_scale"]), values["new"],
            int(values["trainings"]), int(values["next_image"]),
        )  # fmt: skip
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged (%s); starting from the beginning", path, error)
        return None


def remove(folder: Path) -> None:
    """Delete the checkpoint of a finished training."""
    (folder / FILE).unlink(missing_ok=True)
