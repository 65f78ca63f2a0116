"""Proposal files: the boxes of many images and the settings they were made with.

* `.npz`, or any other suffix: the project's own format, without pickle. `boxes` float32 (N, 4), all images one after
  the other; `offsets` int64 (I + 1,), image i has boxes[offsets[i]:offsets[i + 1]]; `ids` unicode (I,); `meta` a JSON
  object as text.
* `.mat`: the format of selective search, R-CNN and SPP-net; see `proposals.mat`.
* `.json`, read only: an object {image id: [[x1, y1, x2, y2], ...]}, best first, 0-based inclusive pixels; or COCO's
  list of results, {"image_id", "bbox": [x, y, width, height], "score"} in any order. Numeric ids are converted to text:
  139 becomes "139", not "000139", unless the caller knows the names of the images.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection.boxes import as_boxes
from detection.checked_file import read_checked, write_checked
from detection.files import parse_json, write_atomically
from detection.npz_file import read_npz
from proposals import mat

KEYS = ("boxes", "offsets", "ids", "meta")
LARGEST = 1e38  # limit of numbers in a .json file, close to the largest float32


def save(path: str | os.PathLike[str], proposals: Mapping[str, ArrayLike], meta: Mapping[str, Any]) -> None:
    """Write a proposal file; equal input gives equal bytes, and a reader never sees a partial file.

    Args:
        path: a name ending in `.mat` for MATLAB, else the project's format. The file is written under a temporary name
            beside it and renamed; missing folders are created.
        proposals: image id -> boxes (R, 4), xyxy, 0-based inclusive image pixels.
        meta: settings that can be written as JSON.

    Raises:
        ValueError: the boxes are not (R, 4), or the suffix is `.json`, which is read only.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        raise ValueError(f"{path}: proposals are written as .npz or .mat, .json is read only; choose another suffix")
    if path.suffix.lower() == ".mat":
        mat.save(path, proposals, meta)
        return
    offsets = np.cumsum([0, *(len(np.asarray(boxes)) for boxes in proposals.values())], dtype=np.int64)
    flat = np.empty((offsets[-1], 4), np.float32)  # filled in place to save memory: the boxes of a data set are large
    for start, stop, boxes in zip(offsets[:-1], offsets[1:], proposals.values(), strict=True):
        flat[start:stop] = as_boxes(boxes)
    arrays = {
        "boxes": flat,
        "offsets": offsets,
        "ids": np.array(list(proposals), dtype=np.str_),
        "meta": np.array(json.dumps(dict(meta), sort_keys=True)),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, [buffer.getvalue()])


def load(
    path: str | os.PathLike[str], order: str = "yxyx", names: Mapping[str, str] | None = None
) -> tuple[mat.Proposals, dict[str, Any]]:
    """Read a proposal file; the suffix determines the format. No code in a file is ever executed.

    Args:
        path: the file.
        order: order of the columns in a `.mat` file, "yxyx" or "xyxy".
        names: image id in COCO results, as text -> id of the image in its data set; others keep theirs.

    Returns:
        image id -> float32 (R, 4), xyxy, 0-based inclusive image pixels, in the order of the file; and the meta, empty
        if the file has none.

    Raises:
        OSError: the file cannot be opened (FileNotFoundError, ...).
        ValueError: the file is damaged or not a proposal file; the message names it.
    """
    path = Path(path)
    if path.suffix.lower() == ".mat":
        return mat.load(path, order)
    return (_load_json(path, names or {}), {}) if path.suffix.lower() == ".json" else _load_npz(path)


def save_one(path: Path, boxes: NDArray[np.float32]) -> None:
    """Write the boxes of one image, float32 (R, 4), as a .npy file with a checksum, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    buffer = BytesIO()
    np.save(buffer, boxes, allow_pickle=False)
    write_checked(path, buffer.getbuffer())


def load_one(path: Path) -> NDArray[np.float32]:
    """Read what `save_one` wrote: float32 (R, 4).

    Raises:
        ValueError: the file is damaged, without checksum, or holds something else.
        OSError: it cannot be read.
    """
    try:
        boxes: NDArray[np.float32] = np.load(BytesIO(read_checked(path)), allow_pickle=False)
    except (EOFError, TokenError) as error:
        raise ValueError(str(error)) from error
    if boxes.dtype != np.float32 or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"expected float32 (R, 4), got {boxes.dtype} {boxes.shape}")
    return mat.checked(boxes, "boxes")


def _load_npz(path: Path) -> tuple[mat.Proposals, dict[str, Any]]:
    try:
        archive = read_npz(path)
        boxes, offsets, ids, meta = (archive[key] for key in KEYS)
        return _split(boxes, offsets, ids), _read_meta(meta)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path}: damaged or not a proposal file ({error}); delete it and extract the proposals again"
        ) from error


def _split(boxes: NDArray[np.float32], offsets: NDArray[np.int64], ids: NDArray[np.str_]) -> mat.Proposals:
    """Split the boxes by image, after checking that the arrays fit together."""
    if boxes.dtype != np.float32 or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes: expected float32 (N, 4), got {boxes.dtype} {boxes.shape}")
    mat.checked(boxes, "boxes")
    if ids.dtype.kind != "U" or ids.ndim != 1 or len(set(ids.tolist())) != len(ids):
        raise ValueError("ids: expected text without duplicates")
    if offsets.dtype != np.int64 or offsets.shape != (len(ids) + 1,):
        raise ValueError(f"offsets: expected int64 ({len(ids) + 1},), got {offsets.dtype} {offsets.shape}")
    if offsets[0] != 0 or offsets[-1] != len(boxes) or (np.diff(offsets) < 0).any():
        raise ValueError(f"offsets: expected values that rise from 0 to {len(boxes)}")
    return {name: boxes[offsets[i] : offsets[i + 1]] for i, name in enumerate(ids.tolist())}


def _read_meta(meta: NDArray[np.str_]) -> dict[str, Any]:
    value = parse_json(str(meta))
    if not isinstance(value, dict):
        raise ValueError(f"meta: expected a JSON object, got {type(value).__name__}")
    return value


def _load_json(path: Path, names: Mapping[str, str]) -> mat.Proposals:
    try:
        value = parse_json(path.read_bytes(), object_pairs_hook=_unrepeated)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a readable JSON file ({' '.join(str(error).split())}); replace it") from None
    if isinstance(value, dict):
        return {name: _numbers(boxes, f"{path}: image {name!r}") for name, boxes in value.items()}
    if isinstance(value, list):
        return _from_coco(value, path, names)
    kind = type(value).__name__
    raise ValueError(f"{path}: expected an object of image ids and boxes, or a COCO list of results, got {kind}")


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} occurs twice in one object")
    return result


def _numbers(boxes: Any, where: str) -> NDArray[np.float32]:
    """Check the boxes of one image; see `mat.checked`."""
    try:
        return mat.checked(boxes, where)
    except ValueError as error:  # numpy's error about ragged rows does not name the place
        text = str(error)
        raise ValueError(text if text.startswith(where) else f"{where}: expected rows of 4 numbers") from None


def _from_coco(results: Sequence[Any], path: Path, names: Mapping[str, str]) -> mat.Proposals:
    """Group COCO results by image, by descending score (ties in file order); images in order of first appearance."""
    rows: dict[str, list[list[float]]] = {}
    for number, result in enumerate(results, 1):
        where = f"{path}: result {number}"
        if not isinstance(result, dict) or not {"image_id", "bbox", "score"} <= result.keys():
            raise ValueError(f"{where}: expected an object with image_id, bbox and score, got {str(result)[:60]}")
        image_id, bbox, score = result["image_id"], result["bbox"], result["score"]
        if type(image_id) not in (int, str):
            raise ValueError(f"{where}: image_id: expected a number or text, got {image_id!r}")
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(type(v) in (int, float) for v in [*bbox, score]):
            raise ValueError(f"{where}: expected a bbox of 4 numbers and a score, got {bbox!r} and {score!r}")
        if not all(abs(v) < LARGEST for v in [*bbox, score]):  # false for NaN too
            raise ValueError(f"{where}: expected finite numbers, got {bbox} and {score}")
        rows.setdefault(names.get(str(image_id), str(image_id)), []).append([*bbox, score])
    return {name: _ranked(np.array(r, np.float64), f"{path}: image {name!r}") for name, r in rows.items()}


def _ranked(rows: NDArray[np.float64], where: str) -> NDArray[np.float32]:
    """Convert rows of x, y, width, height, score (N, 5) to float32 (N, 4), xyxy, best first."""
    xywh = rows[np.argsort(-rows[:, 4], kind="stable"), :4]
    return mat.checked(np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:] - 1]), where)
