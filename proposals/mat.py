"""Proposals in the `.mat` files of selective search, R-CNN and SPP-net.

A file holds two cell arrays: `boxes`, with one matrix (R, 4) per image, and `images`, with one name per image. Rows are
y1 x1 y2 x2, 1-based and inclusive; some authors write x1 y1 x2 y2. The functions here take and return boxes as xyxy,
0-based, inclusive, like the rest of the project.

Source: imdb/roidb_from_voc.m and data/selective_search_data of SPP-net and R-CNN.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import ArrayLike, NDArray

from data.photo_files import SUFFIXES
from detection.boxes import as_boxes
from detection.files import parse_json, write_atomically
from proposals import mat5

Proposals = dict[str, NDArray[np.float32]]

ORDERS = {"yxyx": (1, 0, 3, 2), "xyxy": (0, 1, 2, 3)}  # columns of x1 y1 x2 y2; each order is its own inverse
HEADER_TEXT = 116  # bytes of free text at the start of a file of version 5
HDF5 = (b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3")  # start of files of version 7.3, plain HDF5 or written by MATLAB


def save(
    path: str | os.PathLike[str],
    proposals: Mapping[str, ArrayLike],
    meta: Mapping[str, Any] | None = None,
    order: str = "yxyx",
) -> None:
    """Write a `.mat` file of version 5; equal input gives equal bytes.

    Args:
        path: the file, written under a temporary name beside it and renamed; missing folders are created.
        proposals: image id -> boxes (R, 4), xyxy, 0-based inclusive image pixels.
        meta: settings that can be written as JSON; stored as text in the variable `meta`, which other programs ignore.
        order: order of the columns in the file, "yxyx" or "xyxy".

    Raises:
        ValueError: the boxes are not (R, 4) or more than 2 GB, or the order is unknown.
        OSError: the file cannot be written.
    """
    columns = _columns(order)
    boxes = np.empty((1, len(proposals)), object)
    images = np.empty((len(proposals), 1), object)
    for i, (name, of_image) in enumerate(proposals.items()):
        boxes[0, i], images[i, 0] = as_boxes(of_image)[:, columns] + 1, name
    # With the cells last, a truncated file always lacks one of them.
    variables = ({"meta": json.dumps(dict(meta), sort_keys=True)} if meta else {}) | {"boxes": boxes, "images": images}
    buffer = BytesIO()
    try:
        scipy.io.savemat(buffer, variables, do_compression=True)
    except scipy.io.matlab.MatWriteError as error:
        raise ValueError(f"{path}: too many boxes for a .mat file ({error}); save them as .npz") from None
    header = b"MATLAB 5.0 MAT-file, proposals of sppnet".ljust(HEADER_TEXT)  # scipy's header states the time
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [header, buffer.getvalue()[HEADER_TEXT:]])


def load(path: str | os.PathLike[str], order: str = "yxyx") -> tuple[Proposals, dict[str, Any]]:
    """Read a `.mat` file of version 5 to 7.

    Matrices may have any real numeric type, and any shape if they are empty. Cell arrays may be rows or columns. Names
    may be a cell array or the rows of a char array, with or without the suffix of an image file.

    Args:
        path: the file.
        order: order of the columns in the file, "yxyx" or "xyxy".

    Returns:
        image id -> float32 (R, 4), xyxy, 0-based inclusive image pixels, in the order of the file; and the meta written
        by `save`, else an empty dict.

    Raises:
        OSError: the file cannot be opened (FileNotFoundError, ...).
        ValueError: the file is damaged, of version 7.3, or has other content; the message names file and image.
    """
    path, columns = Path(path), _columns(order)
    variables = _read(path)
    boxes, images = _boxes(variables["boxes"], path), _images(variables["images"], path)
    if len(boxes) != len(images):
        raise ValueError(
            f"{path}: {len(boxes)} matrices in boxes but {len(images)} names in images; expected one name per matrix"
        )
    proposals: Proposals = {}
    for name, of_image in zip(images, boxes, strict=True):
        if name in proposals:
            raise ValueError(f"{path}: image {name!r} occurs twice; expected each image once")
        where = f"{path}: image {name!r}"
        if of_image.size and of_image.min() <= 0:
            raise ValueError(
                f"{where}: got coordinate {of_image.min():g}, expected 1-based coordinates; add 1 to the boxes"
            )
        proposals[name] = checked(of_image[:, columns] - 1, f"{where} (read as {order})")
    return proposals, _meta(variables.get("meta"))


def checked(boxes: ArrayLike, where: str) -> NDArray[np.float32]:
    """Check the boxes of a file: (R, 4) -> float32 (R, 4), xyxy, 0-based inclusive pixels.

    Args:
        boxes: (R, 4) of any real numeric type; any shape if empty.
        where: file and image, the start of the error message.

    Raises:
        ValueError: the shape or type differs, a number is not finite, or corners are swapped.
    """
    array = np.asarray(boxes)
    if not array.size:
        return np.empty((0, 4), np.float32)
    if array.dtype.kind not in "iuf" or array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{where}: expected numbers (R, 4), got {array.dtype} {array.shape}")
    with np.errstate(over="ignore"):
        stored = array.astype(np.float32)
    for bad, what in (
        (~np.isfinite(stored).all(1), "expected finite numbers"),
        ((array[:, 2:] + 1 <= array[:, :2]).any(1), "expected x1 <= x2 and y1 <= y2; try another order of columns"),
    ):
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(f"{where}: box {row + 1} is {array[row].tolist()}, {what}")
    return stored


def _columns(order: str) -> list[int]:
    if order not in ORDERS:
        raise ValueError(f"order: expected one of {', '.join(ORDERS)}, got {order!r}")
    return list(ORDERS[order])


def _read(path: Path) -> dict[str, mat5.Value]:
    file = path.read_bytes()
    if file.startswith(HDF5):
        raise ValueError(f"{path}: MATLAB 7.3 file (HDF5), expected version 5 to 7; in MATLAB, save it again with -v7")
    try:
        variables = mat5.read(file, ("meta", "boxes", "images"))
    except ValueError as error:
        raise ValueError(f"{path}: damaged or not a MATLAB file ({error}); replace it") from None
    for name in ("boxes", "images"):
        if name not in variables:
            raise ValueError(
                f"{path}: holds no {name}; expected cell arrays boxes and images, as in files of selective search"
            )
    return variables


def _boxes(value: mat5.Value, path: Path) -> list[NDArray[np.float64]]:
    """Return the matrices (R, 4) of the file as float64."""
    if not isinstance(value, mat5.Cell):
        raise ValueError(f"{path}: boxes: expected a cell array with one matrix per image, got {_kind(value)}")
    result = []
    for number, item in enumerate(value.items, 1):
        if not isinstance(item, np.ndarray) or (item.size and (item.ndim != 2 or item.shape[1] != 4)):
            raise ValueError(f"{path}: boxes: cell {number}: expected a matrix (R, 4) of numbers, got {_kind(item)}")
        result.append(item.astype(np.float64) if item.size else np.empty((0, 4)))
    return result


def _images(value: mat5.Value, path: Path) -> list[str]:
    """Return the image names without the suffixes of image files."""
    if isinstance(value, mat5.Text):
        names = [row.rstrip() for row in value.rows]  # the rows of a char array have equal lengths
    elif isinstance(value, mat5.Cell):
        names = [item.rows[0] if isinstance(item, mat5.Text) and len(item.rows) == 1 else "" for item in value.items]
    else:
        raise ValueError(f"{path}: images: expected a cell array of names, got {_kind(value)}")
    if "" in names:
        raise ValueError(f"{path}: images: cell {1 + names.index('')}: expected a name, got another value")
    split = (os.path.splitext(name) for name in names)
    return [stem if suffix.lower() in SUFFIXES else stem + suffix for stem, suffix in split]


def _kind(value: mat5.Value) -> str:
    """Describe a value in a message."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name} {value.shape}"
    return value.kind if isinstance(value, mat5.Other) else type(value).__name__.lower()


def _meta(value: mat5.Value | None) -> dict[str, Any]:
    """Read the meta that `save` wrote; in files of other programs, a variable of this name may hold anything."""
    if not isinstance(value, mat5.Text) or len(value.rows) != 1:
        return {}
    try:
        meta = parse_json(value.rows[0])
    except (ValueError, RecursionError):
        return {}
    return meta if isinstance(meta, dict) else {}
