"""What an interrupted gradient descent continues from: one file, replaced whole, and whose training it is."""

from __future__ import annotations

import io
import logging
import pickle
from pathlib import Path
from typing import Any

import torch

from detection.files import write_atomically

log = logging.getLogger(__name__)


def save(path: Path, key: str, **state: Any) -> None:
    """Write numbers, tensors and lists and dictionaries of them; the folder is made if absent.

    Raises:
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"key": key, **state}, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [buffer.getbuffer()])


def load(path: Path, key: str) -> dict[str, Any] | None:
    """What was saved for the training of this key; None if there is nothing, or, with a warning, nothing of use."""
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        same = state["key"] == key
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        log.warning("%s is damaged (%s); starting anew", path, str(error).splitlines()[0] if str(error) else "")
        return None
    if not same:
        log.warning("%s belongs to a training with other settings or data; starting anew", path)
        return None
    return state
