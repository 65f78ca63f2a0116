"""Proposal files: the boxes of many images and how they were made, in one .npz without pickle.

Arrays in the file: `boxes` float32 (N, 4), all images one after the other; `offsets` int64 (I + 1,), image i
owning boxes[offsets[i]:offsets[i + 1]]; `ids` unicode (I,); `meta` a JSON object as text.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection.boxes import as_boxes
from detection.files import write_atomically

KEYS = ("boxes", "offsets", "ids", "meta")


def save(path: str | os.PathLike[str], proposals: Mapping[str, ArrayLike], meta: Mapping[str, Any]) -> None:
    """Write a proposal file; equal input gives equal bytes, and a reader never sees half a file.

    Args:
        path: written under a temporary name beside it, then renamed; missing folders are made.
        proposals: image id -> boxes (R, 4), xyxy, 0-based inclusive image pixels.
        meta: what JSON can hold.

    Raises:
        ValueError: boxes that are not (R, 4).
        OSError: the file cannot be written.
    """
    per_image = [as_boxes(boxes).astype(np.float32) for boxes in proposals.values()]
    arrays = {
        "boxes": np.concatenate([*per_image, np.empty((0, 4), np.float32)]),
        "offsets": np.cumsum([0, *map(len, per_image)], dtype=np.int64),
        "ids": np.array(list(proposals), dtype=np.str_),
        "meta": np.array(json.dumps(dict(meta), sort_keys=True)),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, [buffer.getvalue()])


def load(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Read a proposal file.

    Returns:
        image id -> float32 (R, 4), xyxy, 0-based inclusive image pixels, in the order of writing; and the meta.

    Raises:
        OSError: the file cannot be opened (FileNotFoundError, ...).
        ValueError: it is damaged or no proposal file.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            boxes, offsets, ids, meta = (archive[key] for key in KEYS)
        return _split(boxes, offsets, ids), _read_meta(meta)
    # np.load answers a foreign file with whatever its parser tripped over; an OSError without a number is
    # such an answer too, one with a number is the operating system's.
    except (ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ValueError(f"{path}: damaged or no proposal file ({reason}); delete it and extract the proposals again")


def _split(
    boxes: NDArray[np.float32], offsets: NDArray[np.int64], ids: NDArray[np.str_]
) -> dict[str, NDArray[np.float32]]:
    """Boxes by image, after a check that the arrays fit together."""
    if boxes.dtype != np.float32 or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes: expected float32 (N, 4), got {boxes.dtype} {boxes.shape}")
    if ids.dtype.kind != "U" or ids.ndim != 1 or len(set(ids.tolist())) != len(ids):
        raise ValueError("ids: expected different names")
    if offsets.dtype != np.int64 or offsets.shape != (len(ids) + 1,):
        raise ValueError(f"offsets: expected int64 ({len(ids) + 1},), got {offsets.dtype} {offsets.shape}")
    if offsets[0] != 0 or offsets[-1] != len(boxes) or (np.diff(offsets) < 0).any():
        raise ValueError(f"offsets: expected to rise from 0 to {len(boxes)}")
    return {name: boxes[offsets[i] : offsets[i + 1]] for i, name in enumerate(ids.tolist())}


def _read_meta(meta: NDArray[np.str_]) -> dict[str, Any]:
    value = json.loads(str(meta))
    if not isinstance(value, dict):
        raise ValueError(f"meta: expected a JSON object, got {type(value).__name__}")
    return value
