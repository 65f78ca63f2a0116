"""Detections of one image."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from detection.boxes import to_xywh
from detection.calibration import Calibration
from detection.image import read

if TYPE_CHECKING:
    import pandas
    import supervision
    import torch

    from data.records import FileId

Floating = NDArray[np.floating[Any]]

_PRINTED = 20
"""Detections listed by `repr`."""

SHOWN_MARGIN = -0.5
"""Lowest margin that is shown of detections without a calibration."""

_EXCLUSIVE = np.array([0, 0, 1, 1], np.float32)
"""Added to boxes with inclusive corners, it gives boxes that end one past their last pixel."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes of one image with scores and labels.

    A sequence of detections: `found[0]` and every item of a loop over `found` are `Detections` of length 1. Slices,
    masks and index arrays select several.

    Float64 boxes and scores are kept as they are, so that detections read from other programs' files keep their exact
    ranking. All other types are converted to float32.

    Attributes:
        boxes: float32 (N, 4), xyxy, 0-based inclusive image pixels.
        scores: float32 (N,), unbounded margins, comparable within a class; see `probabilities`.
        labels: int64 (N,), 0..K-1.
        classes: the K class names in label order; empty if unknown.
        photo: the image or its path, as given to `SPPDetector.detect`; `draw` draws on it. None if unknown.
        category_ids: ids of the K classes in the COCO file that the detector was trained on, for `to_coco`; empty if
            there was none.
        calibration: turns margins into probabilities; None if the detector has none.

    Raises:
        ValueError: the lengths differ, a box or score is NaN, or a label has no name in `classes`.
    """

    boxes: Floating
    scores: Floating
    labels: NDArray[np.int64]
    classes: tuple[str, ...] = ()
    photo: NDArray[np.uint8] | Path | None = None
    category_ids: tuple[FileId | None, ...] = ()
    calibration: Calibration | None = None

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
            raise ValueError("detections: boxes or scores contain NaN; remove these rows")
        if self.classes and n and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise ValueError(
                f"labels: expected 0..{len(self.classes) - 1} for {len(self.classes)} classes, "
                f"got {labels.min()}..{labels.max()}"
            )
        for name, value in (("boxes", boxes), ("scores", scores), ("labels", labels.astype(np.int64, copy=False))):
            object.__setattr__(self, name, value)  # the dataclass is frozen

    @classmethod
    def empty(cls) -> Detections:
        """Return zero detections."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    @classmethod
    def concatenate(cls, parts: Iterable[Detections]) -> Detections:
        """Return all detections of `parts`, in order, without class names and photo."""
        parts = list(parts) or [cls.empty()]
        return cls(
            np.concatenate([p.boxes for p in parts]),
            np.concatenate([p.scores for p in parts]),
            np.concatenate([p.labels for p in parts]),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: int | NDArray[Any] | slice) -> Detections:
        """Select one row by its number, or several by an index array, a boolean mask or a slice.

        Raises:
            IndexError: there is no such row.
        """
        if isinstance(rows, int | np.integer):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows}: there are {len(self)} detections")
            rows = np.array([rows])
        return replace(self, boxes=self.boxes[rows], scores=self.scores[rows], labels=self.labels[rows])

    def __iter__(self) -> Iterator[Detections]:
        return (self[row] for row in range(len(self)))

    @property
    def names(self) -> list[str]:
        """The class name of each detection, or its label as text if the names are unknown."""
        return [self.classes[k] if self.classes else str(k) for k in self.labels.tolist()]

    @property
    def probabilities(self) -> NDArray[np.float32] | None:
        """How likely each detection is to be correct, float32 (N,), in [0, 1]; None without a calibration."""
        return None if self.calibration is None else self.calibration.probabilities(self.scores, self.labels)

    @property
    def confidences(self) -> Floating:
        """What is shown beside each detection, (N,): its probability, or its margin without a calibration."""
        probabilities = self.probabilities
        return self.scores if probabilities is None else probabilities

    def shown(self, threshold: float | None = None) -> Detections:
        """Return the detections that are worth showing.

        Args:
            threshold: the lowest probability, in [0, 1]. None: that of each class, see `Calibration`; without a
                calibration, a margin of `SHOWN_MARGIN`.

        Raises:
            ValueError: a threshold is given and there are no probabilities.
        """
        if self.calibration is not None:
            return self[self.scores >= self.calibration.margins(threshold)[self.labels]]
        if threshold is not None:
            raise ValueError("threshold: this detector states no probabilities; train it again, or select by score")
        return self.filter(SHOWN_MARGIN)

    def sorted(self) -> Detections:
        """Sort by descending probability, or by margin without a calibration; equal ones keep their order."""
        return self[np.lexsort((-self.scores, -self.confidences))]  # margins differ where probabilities round to 1

    def top(self, k: int) -> Detections:
        """Return the best `k` detections, best first; see `sorted`."""
        if k < 0:
            raise ValueError(f"k: expected at least 0, got {k}")
        return self.sorted()[:k]

    def filter(self, min_score: float | None = None, labels: Iterable[int | str] | str | None = None) -> Detections:
        """Select detections by score and class.

        Args:
            min_score: the lowest score to keep; None keeps all scores.
            labels: labels or class names to keep, or one class name; None keeps all classes.

        Raises:
            ValueError: a name is not in `classes`.
        """
        keep = np.ones(len(self), np.bool_)
        if min_score is not None:
            keep &= self.scores >= min_score
        if labels is not None:
            wanted = [labels] if isinstance(labels, str) else list(labels)
            keep &= np.isin(self.labels, [self._label_of(label) for label in wanted])
        return self[keep]

    def _label_of(self, label: int | str) -> int:
        if not isinstance(label, str):
            return int(label)
        if label not in self.classes:
            raise ValueError(f"labels: expected one of {', '.join(self.classes) or 'no known classes'}, got {label!r}")
        return self.classes.index(label)

    def __repr__(self) -> str:
        shown = self.shown()
        hidden = f"; {len(self) - len(shown)} more are unlikely" if len(self) > len(shown) else ""
        lines = [f"{len(shown)} detection{'s' * (len(shown) != 1)}{hidden}"]
        for row in shown.top(_PRINTED).records():
            x0, y0, x1, y1 = (round(v) for v in row["box"])
            score = f"{row['score']:6.2f}" if self.calibration is None else f"{100 * row['probability']:4.0f} %"
            lines.append(f"  {row['class']:<14} {score}   ({x0}, {y0}) to ({x1}, {y1})")
        return "\n".join([*lines, *(["  …"] if len(shown) > _PRINTED else [])])

    def _repr_png_(self) -> bytes | None:
        """Show the photo with the detections in notebooks."""
        if self.photo is None:
            return None
        picture, buffer = Image.fromarray(self.draw()), io.BytesIO()
        picture.save(buffer, "png")
        return buffer.getvalue()

    def draw(self, min_score: float | None = None, image: ArrayLike | None = None) -> NDArray[np.uint8]:
        """Draw the boxes with class names and probabilities on the photo; without a calibration, with scores.

        Args:
            min_score: the lowest score to draw; None draws the detections of `shown`.
            image: uint8 RGB (H, W, 3) to draw on instead of `photo`.

        Returns:
            uint8 RGB (H, W, 3).

        Raises:
            ValueError: there is neither a photo nor an image.
            OSError: the photo's file cannot be read.
        """
        from detection.pictures import drawing

        photo = self.photo if image is None else image
        if photo is None:
            raise ValueError("draw: these detections have no photo; pass image")
        pixels = read(photo) if isinstance(photo, Path) else photo
        classes = self.classes or tuple(map(str, range(1 + int(self.labels.max(initial=-1)))))
        return drawing.draw_detections(pixels, self.shown() if min_score is None else self, classes, min_score)

    def records(self) -> list[dict[str, Any]]:
        """Return one dictionary per detection, best first.

        Its keys are class, label, score, box (x0, y0, x1, y1, 0-based inclusive image pixels) and, with a calibration,
        probability.
        """
        best, more = self.sorted(), {}
        if (probabilities := best.probabilities) is not None:
            more = {"probability": probabilities.tolist()}
        columns = {"class": best.names, "label": best.labels.tolist(), "score": best.scores.tolist(), **more}
        columns["box"] = best.boxes.tolist()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def to_coco(self, image_id: FileId, category_ids: Sequence[FileId | None] = ()) -> list[dict[str, Any]]:
        """Return COCO results: image_id, category_id, bbox (x, y, width, height) and score.

        Args:
            image_id: id of the photo in the COCO file, a number or text.
            category_ids: COCO category id of each of the K classes; detections of a class with None are left out.
                Empty: `self.category_ids`, or label + 1 if that is empty too.

        Raises:
            ValueError: a label is negative, or there is no category id for it.
        """
        ids = category_ids or self.category_ids or range(1, 2 + int(self.labels.max(initial=-1)))
        if self.labels.min(initial=0) < 0:
            raise ValueError(f"labels: expected 0 or more, got {self.labels.min()}")
        if self.labels.max(initial=-1) >= len(ids):
            raise ValueError(f"category_ids: expected one for label {self.labels.max()} too, got {len(ids)}")
        image = image_id if isinstance(image_id, str) else int(image_id)
        columns = (self.labels.tolist(), to_xywh(self.boxes).tolist(), self.scores.tolist())
        return [
            {"image_id": image, "category_id": ids[label], "bbox": box, "score": score}
            for label, box, score in zip(*columns, strict=True)
            if ids[label] is not None
        ]

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with one row per detection, best first: class, label, score, probability, x0, y0, x1, y1.

        The probability is missing (NaN) without a calibration.

        Raises:
            ImportError: pandas is not installed.
        """
        library = _library("pandas")
        best = self.sorted()
        probabilities = np.full(len(best), np.nan) if best.probabilities is None else best.probabilities
        columns = {"class": best.names, "label": best.labels, "score": best.scores, "probability": probabilities}
        boxes = dict(zip(("x0", "y0", "x1", "y1"), best.boxes.T, strict=True))
        table: pandas.DataFrame = library.DataFrame(columns | boxes)
        return table

    def to_torchvision(self) -> dict[str, torch.Tensor]:
        """Return tensors as torchvision's detectors do.

        Boxes end one past their last pixel, labels start at 1 since 0 is the background, and scores are probabilities,
        or margins without a calibration.
        """
        import torch

        return {
            "boxes": torch.as_tensor(self.boxes + _EXCLUSIVE, dtype=torch.float32),
            "labels": torch.as_tensor(self.labels + 1),
            "scores": torch.as_tensor(self.confidences, dtype=torch.float32),
        }

    def to_supervision(self) -> supervision.Detections:
        """Return detections of Roboflow's supervision library.

        Boxes end one past their last pixel. The confidence is the probability, or the margin without a calibration.

        Raises:
            ImportError: supervision is not installed.
        """
        made: supervision.Detections = _library("supervision").Detections(
            xyxy=(self.boxes + _EXCLUSIVE).astype(np.float32),
            confidence=self.confidences.astype(np.float32),
            class_id=self.labels,
            data={"class_name": np.array(self.names)},
        )
        return made


def _library(name: str) -> Any:
    """Import a library that only one method needs.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ImportError(f"this needs {name}; run: pip install {name}") from error


def _floats(values: ArrayLike) -> Floating:
    array = np.asarray(values)
    if array.dtype in (np.float32, np.float64):
        return array
    return array.astype(np.float32)
