"""Examples of a report: the best right detections, the worst wrong ones, and objects not found, cut from photos."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tools.common import one_line

from data.records import Dataset, ImageRecord
from detection import image
from detection.boxes import iou
from detection.detections import Detections
from detection.evaluation.errors import WRONG, Errors, Kind
from detection.pictures import drawing
from sppnet.report.tested_run import score

SHOWN = (4, 6, 4)  # right, wrong and missing ones of a class, where there is room
MOST = 320  # crops of a report: about 4 MB
LONG_SIDE = 240  # pixels of a crop
LARGEST_SCALE = 3.0  # to which small crops are enlarged
CONTEXT = 0.25  # of the longer side of the boxes, around them
LEAST_CONTEXT = 12  # pixels
QUALITY = 78  # of JPEG
LINE = 4  # pixels of a frame
RIGHT_COLOR, WRONG_COLOR = drawing.PALETTE[2], drawing.PALETTE[5]  # bluish green, vermilion
NAMES = {
    Kind.LOCALISATION: "localisation",
    Kind.SIMILAR: "similar class",
    Kind.OTHER: "other class",
    Kind.BACKGROUND: "background",
    Kind.DUPLICATE: "duplicate",
    Kind.MISSED: "missed",
}

Box = NDArray[np.float64]


@dataclass
class Example:
    """One picture to be cut, and afterwards its bytes.

    Attributes:
        record: its photo.
        title: what is seen: a score, or that an object was not found.
        note: how it is wrong; empty where it is right.
        box: (4,) the detection; None where an object was not found.
        object: (4,) the object that it is about; None for background.
        right: whether the detection is.
        source: address of the picture, "data:…"; empty where the photo cannot be read.
        size: its width and height.
        problem: why the photo cannot be read.
    """

    record: ImageRecord
    title: str
    note: str = ""
    box: Box | None = None
    object: Box | None = None
    right: bool = False
    source: str = ""
    size: tuple[int, int] = (0, 0)
    problem: str = ""


@dataclass(frozen=True)
class Gallery:
    """The examples of one class.

    Attributes:
        name: of the class.
        right: right detections of the greatest scores.
        wrong: wrong detections of the greatest scores.
        missing: the largest objects that no detection finds.
        counts: how many there are in all, of each.
    """

    name: str
    right: list[Example]
    wrong: list[Example]
    missing: list[Example]
    counts: tuple[int, int, int]

    @property
    def examples(self) -> list[Example]:
        return [*self.right, *self.wrong, *self.missing]


def galleries(errors: Errors, dataset: Dataset) -> list[Gallery]:
    """Examples of each class, with their pictures; of so many classes that there is no room, those of most objects."""
    share = min(1.0, MOST / (sum(SHOWN) * max(1, len(errors.classes))))
    shown = tuple(max(1, int(n * share)) for n in SHOWN)
    room = MOST // sum(shown)
    order = np.argsort(-errors.n_objects, kind="stable")[:room]
    found = [_gallery(errors, dataset, int(label), shown) for label in sorted(order.tolist())]
    fill(example for gallery in found for example in gallery.examples)
    return found


def fill(examples: Iterable[Example]) -> None:
    """Cut the pictures; each photo is read once."""
    by_photo: dict[str, list[Example]] = {}
    for example in examples:
        by_photo.setdefault(example.record.id, []).append(example)
    for group in by_photo.values():
        try:
            photo = image.read(group[0].record.path, group[0].record.size)
        except (OSError, ValueError) as error:
            for example in group:
                example.problem = one_line(error)
            continue
        for example in group:
            picture = cut(photo, example.box, example.object, RIGHT_COLOR if example.right else WRONG_COLOR)
            example.source, example.size = _data_uri(picture), (picture.shape[1], picture.shape[0])


def cut(photo: NDArray[np.uint8], box: Box | None, thing: Box | None, color: drawing.Color) -> NDArray[np.uint8]:
    """A detection and the object it is about, with some of what is around them.

    Args:
        photo: uint8 RGB (H, W, 3).
        box: (4,) the detection, framed in `color`.
        thing: (4,) the object, dashed in black and white. One of the two may be None.
        color: of the frame.

    Returns:
        uint8 RGB, the longer side of `LONG_SIDE` pixels at most.
    """
    boxes = np.array([b for b in (box, thing) if b is not None], np.float64)
    x0, y0, x1, y1 = _around(boxes, (photo.shape[0], photo.shape[1]))
    scale = min(LONG_SIDE / max(x1 - x0, y1 - y0), LARGEST_SCALE)
    size = max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))
    picture = np.asarray(Image.fromarray(photo[y0:y1, x0:x1]).resize(size, Image.Resampling.LANCZOS))
    moved = [None if b is None else (b - [x0, y0, x0, y0] + 0.5) * scale - 0.5 for b in (box, thing)]
    if moved[1] is not None:
        picture = drawing.draw_comparison(picture, Detections.empty(), _nameless(moved[1]), ("",))
    if moved[0] is not None:
        picture = _framed(picture, moved[0], color)
    return picture


def _framed(picture: NDArray[np.uint8], box: Box, color: drawing.Color) -> NDArray[np.uint8]:
    """A frame that shows on a small picture and around a small box: `LINE` pixels between thin white ones."""
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    limits = np.array([canvas.width, canvas.height, canvas.width, canvas.height]) - 1
    x0, y0, x1, y1 = np.clip(np.rint(box) + LINE // 2 * np.array([-1, -1, 1, 1]), 0, limits).tolist()
    for inset, width, ink in ((0, LINE + 2, drawing.WHITE), (1, LINE, color)):
        if x1 - x0 >= 2 * inset and y1 - y0 >= 2 * inset:
            pen.rectangle((x0 + inset, y0 + inset, x1 - inset, y1 - inset), outline=ink, width=width)
    return np.asarray(canvas)


def _nameless(box: Box) -> ImageRecord:
    """One object, to be drawn without a label."""
    boxes = np.asarray(box, np.float32)[None]  # (1, 4)
    return ImageRecord("", Path(), (0, 0), boxes, np.zeros(1, np.int64), np.zeros(1, np.bool_))


def _around(boxes: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of an image of (H, W) pixels with boxes (n, 4) and some context: first pixels, one past the last."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    margin = max(LEAST_CONTEXT, CONTEXT * float((high - low).max()))
    limits = np.array([size[1], size[0]])
    x0, y0 = np.clip(np.floor(low - margin), 0, limits - 1).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(high + margin) + 1, 1, limits).astype(int).tolist()
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _data_uri(picture: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _gallery(errors: Errors, dataset: Dataset, label: int, shown: Sequence[int]) -> Gallery:
    ranked = errors.ranked(label)
    right = ranked[errors.kind[ranked] == Kind.RIGHT]
    wrong = ranked[np.isin(errors.kind[ranked], [int(k) for k in WRONG])]
    truth = errors.truth
    missing = np.flatnonzero((truth.labels == label) & ~errors.found & ~truth.difficult)
    sides = truth.boxes[missing, 2:] - truth.boxes[missing, :2] + 1
    largest = missing[np.argsort(-sides.prod(axis=1), kind="stable")]
    return Gallery(
        errors.classes[label],
        [_detection(errors, dataset, int(d)) for d in right[: shown[0]]],
        [_detection(errors, dataset, int(d)) for d in wrong[: shown[1]]],
        [_object(errors, dataset, int(g)) for g in largest[: shown[2]]],
        (len(right), len(wrong), len(missing)),
    )


def _detection(errors: Errors, dataset: Dataset, row: int) -> Example:
    """One detection, and in words how it is wrong."""
    kind, g = Kind(int(errors.kind[row])), int(errors.object[row])
    overlap, title = f"IoU {errors.overlap[row]:.2f}", score(errors.rows.scores[row])
    note = overlap
    if kind in (Kind.SIMILAR, Kind.OTHER):
        note = f"{NAMES[kind]}: {errors.classes[errors.truth.labels[g]]}, {overlap}"
    elif kind != Kind.RIGHT:
        note = f"{NAMES[kind]}, {overlap}"
    record = dataset.records[int(errors.image[row])]
    thing = errors.truth.boxes[g] if g >= 0 else None
    return Example(record, title, note, errors.rows.boxes[row].astype(np.float64), thing, kind == Kind.RIGHT)


def _object(errors: Errors, dataset: Dataset, g: int) -> Example:
    """An object that was not found, and the detection of its class that overlaps it most."""
    at = int(np.searchsorted(errors.truth.first, g, side="right")) - 1
    mine = np.flatnonzero((errors.image == at) & (errors.rows.labels == errors.truth.labels[g]))
    overlaps = iou(errors.rows.boxes[mine], errors.truth.boxes[g][None])[:, 0]
    note, box = "no detection of its class touches it", None
    if overlaps.max(initial=0.0) > 0:
        best = mine[overlaps.argmax()]
        note = f"best box IoU {overlaps.max():.2f}, score {score(errors.rows.scores[best])}"
        box = errors.rows.boxes[best].astype(np.float64)
    title = "missed" if errors.missed[g] else "nearly found"
    return Example(dataset.records[at], title, note, box, errors.truth.boxes[g])
