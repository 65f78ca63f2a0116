"""What a detector returns, for one image and for many."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from detection import exports
from detection.files import write_atomically
from detection.image import read

if TYPE_CHECKING:
    import pandas
    import supervision
    import torch

Floating = NDArray[np.floating[Any]]
_FORMAT = "sppnet detections 1"


@dataclass(frozen=True, eq=False)
class Detections:
    """Scored, labelled boxes of one image.

    Float64 arrays stay as they are, so that files written by other programs are ranked by the numbers they
    hold; all other types are converted.

    Attributes:
        boxes: float32 (N, 4), xyxy, 0-based inclusive image pixels.
        scores: float32 (N,), unbounded margins, comparable within a class.
        labels: int64 (N,), 0..K-1.
        classes: names in label order, where they are known.
        photo: the image or its file, where `SPPDetector.detect` made them; what `draw` draws on.

    Raises:
        ValueError: lengths differ, there is a NaN, or a label has no name among `classes`.
    """

    boxes: Floating
    scores: Floating
    labels: NDArray[np.int64]
    classes: tuple[str, ...] = ()
    photo: NDArray[np.uint8] | Path | None = None

    def __post_init__(self) -> None:
        boxes, scores = _floats(self.boxes), _floats(self.scores)
        labels = np.asarray(self.labels)
        if boxes.size == 0:
            boxes = boxes.reshape(0, 4)
        n = len(boxes)
        if boxes.shape != (n, 4) or scores.shape != (n,) or labels.shape != (n,):
            raise ValueError(
                f"detections: expected boxes (N, 4), scores (N,), labels (N,); "
                f"got {boxes.shape}, {scores.shape}, {labels.shape}"
            )
        if n and labels.dtype.kind not in "iu":
            raise ValueError(f"labels: expected integers, got {labels.dtype}")
        if np.isnan(boxes).any() or np.isnan(scores).any():
            raise ValueError("detections: NaN among the boxes or scores")
        if self.classes and n and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise ValueError(
                f"labels: from {labels.min()} to {labels.max()}, but {len(self.classes)} classes are named"
            )
        for name, value in (("boxes", boxes), ("scores", scores), ("labels", labels.astype(np.int64, copy=False))):
            object.__setattr__(self, name, value)  # the dataclass is frozen

    @classmethod
    def empty(cls) -> Detections:
        """No detections."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    @classmethod
    def concatenate(cls, parts: Iterable[Detections]) -> Detections:
        """All detections of `parts`, in their order; names and photo are left behind."""
        parts = list(parts) or [cls.empty()]
        return cls(
            np.concatenate([p.boxes for p in parts]),
            np.concatenate([p.scores for p in parts]),
            np.concatenate([p.labels for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: NDArray[Any] | slice) -> Detections:
        """The rows of an index array, a boolean mask or a slice."""
        return replace(self, boxes=self.boxes[rows], scores=self.scores[rows], labels=self.labels[rows])

    @property
    def names(self) -> list[str]:
        """The class of each detection; its label in digits, where names are not known."""
        return [self.classes[k] if self.classes else str(k) for k in self.labels.tolist()]

    def sorted(self) -> Detections:
        """Best first; equal scores keep their order."""
        return self[np.argsort(-self.scores, kind="stable")]

    def top(self, k: int) -> Detections:
        """The best `k`, best first."""
        if k < 0:
            raise ValueError(f"k: expected at least 0, got {k}")
        return self.sorted()[:k]

    def filter(self, min_score: float | None = None, labels: Iterable[int | str] | str | None = None) -> Detections:
        """Those with a score of at least `min_score` and one of `labels`; None asks for nothing.

        Args:
            min_score: the least score.
            labels: numbers or names of classes, or one name.

        Raises:
            ValueError: a name is not among `classes`.
        """
        keep = np.ones(len(self), np.bool_)
        if min_score is not None:
            keep &= self.scores >= min_score
        if labels is not None:
            wanted = [labels] if isinstance(labels, str) else list(labels)
            keep &= np.isin(self.labels, [self._number(label) for label in wanted])
        return self[keep]

    def _number(self, label: int | str) -> int:
        if not isinstance(label, str):
            return int(label)
        if label not in self.classes:
            raise ValueError(f"labels: {label!r} is none of the classes ({', '.join(self.classes) or 'not known'})")
        return self.classes.index(label)

    def __repr__(self) -> str:
        return exports.text(self)

    def draw(self, min_score: float | None = None, image: ArrayLike | None = None) -> NDArray[np.uint8]:
        """The photo with its boxes, names and scores: uint8 RGB (H, W, 3).

        Args:
            min_score: leave out what scores less.
            image: uint8 RGB (H, W, 3) to draw on in place of `photo`.

        Raises:
            ValueError: there is neither a photo nor an image.
            OSError: the file of the photo is gone.
        """
        from detection.pictures import drawing

        photo = self.photo if image is None else image
        if photo is None:
            raise ValueError("draw: these detections do not know their photo; give image")
        pixels = read(photo) if isinstance(photo, Path) else photo
        classes = self.classes or tuple(map(str, range(1 + int(self.labels.max(initial=-1)))))
        return drawing.draw_detections(pixels, self, classes, min_score)

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the photo with the detections drawn."""
        if self.photo is None:
            return None
        picture, buffer = Image.fromarray(self.draw()), io.BytesIO()
        picture.save(buffer, "png")
        return buffer.getvalue()

    def records(self) -> list[dict[str, Any]]:
        """One dictionary a detection, best first: class, label, score, box."""
        return exports.records(self)

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """COCO's results format: bbox is x, y, width, height, category_id the label plus one."""
        return exports.to_coco(self, image_id)

    def to_pandas(self) -> pandas.DataFrame:
        """A row a detection, best first: class, label, score, x0, y0, x1, y1."""
        return exports.to_pandas(self)

    def to_torchvision(self) -> dict[str, torch.Tensor]:
        """What torchvision's detectors return: boxes that end one past the last pixel, labels from 1, scores."""
        return exports.to_torchvision(self)

    def to_supervision(self) -> supervision.Detections:
        """For Roboflow's supervision: boxes that end one past the last pixel."""
        return exports.to_supervision(self)


@dataclass(frozen=True, eq=False)
class DetectionTable(Mapping[str, Detections]):
    """Detections of many images as flat columns: a mapping image id -> `Detections` that remembers their order.

    The order matters where scores are equal: evaluation then takes them as they stand in the table.

    Attributes:
        ids: of the M images, with or without detections.
        image: int64 (N,), index into `ids` of each detection.
        rows: the N detections.
    """

    ids: tuple[str, ...]
    image: NDArray[np.int64]
    rows: Detections

    @classmethod
    def of(cls, detections: Mapping[str, Detections]) -> DetectionTable:
        """A table of any mapping: image after image."""
        if isinstance(detections, DetectionTable):
            return detections
        counts = [len(d) for d in detections.values()]
        image = np.repeat(np.arange(len(counts)), counts)
        return cls(tuple(detections), image, Detections.concatenate(detections.values()))

    @cached_property
    def _places(self) -> dict[str, NDArray[np.int64]]:
        """id -> its rows."""
        order = np.argsort(self.image, kind="stable")
        edges = np.searchsorted(self.image[order], np.arange(len(self.ids) + 1))
        return {image_id: order[edges[i] : edges[i + 1]] for i, image_id in enumerate(self.ids)}

    def __getitem__(self, image_id: str) -> Detections:
        return self.rows[self._places[image_id]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


def save_npz(
    path: str | os.PathLike[str], detections: Mapping[str, Detections], meta: Mapping[str, Any] | None = None
) -> None:
    """Write the detections of many images to one file, in one step.

    Args:
        path: the .npz to write.
        detections: image id -> its detections.
        meta: anything json can hold: classes, configuration, provenance.

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
    """Read what `save_npz` wrote.

    Returns:
        The detections, as a mapping image id -> `Detections`, and `meta`.

    Raises:
        OSError: the file is not there or cannot be read.
        ValueError: it is truncated, damaged, or of another kind.
    """
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                header = json.loads(arrays["header"].tobytes())
                if header["format"] != _FORMAT:
                    raise ValueError(f"its format is {header['format']!r}, expected {_FORMAT!r}")
                ids, meta, image = tuple(header["ids"]), header["meta"], arrays["image"]
                rows = Detections(arrays["boxes"], arrays["scores"], arrays["labels"])
            if len(image) != len(rows) or (len(rows) and not 0 <= image.min() <= image.max() < len(ids)):
                raise ValueError("detections and images do not fit together")
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{os.fspath(path)}: no detections of this program, or a damaged file ({error}); write it again"
            ) from error
    return DetectionTable(ids, image, rows), meta


def _floats(values: ArrayLike) -> Floating:
    array = np.asarray(values)
    if array.dtype in (np.float32, np.float64):
        return array
    return array.astype(np.float32)
