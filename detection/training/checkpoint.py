"""Checkpoints of gradient descent: one file, replaced atomically, with the key of its training and a checksum."""

from __future__ import annotations

import io
import logging
import pickle
from pathlib import Path
from typing import Any

import torch

from detection.checked_file import read_checked, write_checked

log = logging.getLogger(__name__)


def save(path: Path, key: str, **state: Any) -> None:
    """Write a checkpoint; the folder is created if absent.

    Args:
        path: file of the checkpoint.
        key: fingerprint of the training.
        state: numbers, tensors, and lists and dictionaries of them.

    Raises:
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"key": key, **state}, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checked(path, buffer.getbuffer())


def load(path: Path, key: str) -> dict[str, Any] | None:
    """Read the checkpoint of the training with this key.

    Returns:
        the state; None if there is no file or, with a warning, if it is damaged, has no checksum or is of another
        training.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(read_checked(path)), map_location="cpu", weights_only=True)
        same = state["key"] == key
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        log.warning("%s is damaged (%s); starting from the beginning", path, (str(error).splitlines() or [""])[0])
        return None
    if not same:
        log.warning("%s belongs to a training with other settings or data; starting from the beginning", path)
        return None
    return state
