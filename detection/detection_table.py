"""Detections of many images: one table in memory, one file on disk."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.detections import Detections
from detection.files import parse_json, write_atomically
from detection.npz_file import read_npz
from detection.plain_values import read

_FORMAT = "sppnet detections 1"


@dataclass(frozen=True, eq=False)
class DetectionTable(Mapping[str, Detections]):
    """Detections of many images as flat columns; a mapping of image ids to `Detections`.

    The table keeps the order of all rows. It matters for equal scores: evaluation takes them in table order.

    Attributes:
        ids: the M image ids, including images without detections.
        image: int64 (N,), the index into `ids` of each detection.
        rows: the N detections.
    """

    ids: tuple[str, ...]
    image: NDArray[np.int64]
    rows: Detections

    @classmethod
    def of(cls, detections: Mapping[str, Detections]) -> DetectionTable:
        """Build a table from a mapping of image ids to detections, one image after the other."""
        if isinstance(detections, DetectionTable):
            return detections
        counts = [len(d) for d in detections.values()]
        image = np.repeat(np.arange(len(counts)), counts)
        return cls(tuple(detections), image, Detections.concatenate(detections.values()))

    @cached_property
    def _rows_of(self) -> dict[str, NDArray[np.int64]]:
        """The row indices of each image id."""
        order = np.argsort(self.image, kind="stable")
        edges = np.searchsorted(self.image[order], np.arange(len(self.ids) + 1))
        return {image_id: order[edges[i] : edges[i + 1]] for i, image_id in enumerate(self.ids)}

    def __getitem__(self, image_id: str) -> Detections:
        return self.rows[self._rows_of[image_id]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


def save_npz(
    path: str | os.PathLike[str], detections: Mapping[str, Detections], meta: Mapping[str, Any] | None = None
) -> None:
    """Write the detections of many images to one file, atomically.

    Args:
        path: the .npz file to write.
        detections: image id -> detections.
        meta: values stored with them, such as classes, settings and provenance; must be serialisable as JSON.

    Raises:
        OSError: the file cannot be written.
    """
    table = DetectionTable.of(detections)
    header = {"format": _FORMAT, "ids": table.ids, "meta": dict(meta or {})}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        header=np.frombuffer(json.dumps(header).encode(), np.uint8),
        image=table.image,
        boxes=table.rows.boxes,
        scores=table.rows.scores,
        labels=table.rows.labels,
    )
    write_atomically(Path(path), [buffer.getvalue()])


def load_npz(path: str | os.PathLike[str]) -> tuple[DetectionTable, dict[str, Any]]:
    """Read a file written by `save_npz`.

    Returns:
        The detections and the `meta` values.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: the file is truncated, damaged or of another format.
    """
    try:
        arrays = read_npz(path)
        header = parse_json(arrays["header"].tobytes())
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']!r}, expected {_FORMAT!r}")
        ids, meta, image = read(tuple[int | str, ...], header["ids"], "ids"), dict(header["meta"]), arrays["image"]
        if len(set(ids)) < len(ids):
            raise ValueError("ids: expected different ones")
        rows = Detections(arrays["boxes"], arrays["scores"], arrays["labels"])
        if image.shape != (len(rows),) or (len(rows) and not 0 <= image.min() <= image.max() < len(ids)):
            raise ValueError("detections and image ids do not match")
        if not (np.isfinite(rows.boxes).all() and np.isfinite(rows.scores).all() and (rows.labels >= 0).all()):
            raise ValueError("expected finite boxes and scores, and labels of at least 0")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{os.fspath(path)}: not a detections file of this program, or damaged ({error}); write it again"
        ) from error
    return DetectionTable(ids, image, rows), meta
