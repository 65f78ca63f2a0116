"""What readers return: one `ImageRecord` per image, one `Dataset` per split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

FileId = int | str
"""Id of an image or a class in the annotation file of its data set."""


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One image and its annotated objects.

    Attributes:
        id: name of the image within its data set, without its suffix.
        path: the image file.
        size: (H, W) in pixels, as stated by the annotation.
        boxes: float32 (G, 4), xyxy, 0-based inclusive image pixels; (0, 4) for an image without objects.
        labels: int64 (G,), index into the data set's `classes`.
        difficult: bool (G,), objects that evaluation counts neither as found nor as missed.
        file_id: id of the image in the annotation file, as in COCO; None for formats without such ids.
    """

    id: str
    path: Path
    size: tuple[int, int]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    difficult: NDArray[np.bool_]
    file_id: FileId | None = None


@dataclass(frozen=True, eq=False)
class PredictedRecord(ImageRecord):
    """One image and the objects that a detector found.

    Attributes:
        model: name of the detector.
        probabilities: float (G,), in [0, 1]; None if the detector states none.
    """

    model: str = ""
    probabilities: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True, eq=False)
class Dataset(Sequence[ImageRecord]):
    """The records of one split, in the order of its list file.

    Attributes:
        name: name of the data set and split, for messages and reports ("VOC2007 trainval").
        classes: names of the K classes, in label order.
        records: the images.
        bad: id -> reason, of the images that were skipped on request.
        dropped: one remark per box that was dropped because it is empty or outside its image, with the image id.
        clipped: one remark per box that was clipped at the border of its image, with the image id.
        unknown: image id -> classes of the objects that were left out because the caller's classes lack them.
        notes: kind -> other remarks of that kind, for example on label files that no photo uses.
        category_ids: id of each of the K classes in the annotation file, as in COCO, None for a class that it lacks;
            empty for formats without such ids.
    """

    name: str
    classes: tuple[str, ...]
    records: tuple[ImageRecord, ...]
    bad: dict[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    clipped: tuple[str, ...] = ()
    unknown: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    category_ids: tuple[FileId | None, ...] = ()

    @property
    def left_out(self) -> dict[str, int]:
        """Class -> number of objects of these images that were left out as `unknown`, most first."""
        return dict(Counter(name for r in self.records for name in self.unknown.get(r.id, ())).most_common())

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> ImageRecord: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ImageRecord, ...]: ...
    def __getitem__(self, index: int | slice) -> ImageRecord | tuple[ImageRecord, ...]:
        return self.records[index]

    def __iter__(self) -> Iterator[ImageRecord]:
        return iter(self.records)
