"""Example pictures of the report, cut from photos: correct detections, wrong detections, objects not found."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from data.records import Dataset, ImageRecord
from detection import image
from detection.boxes import iou
from detection.detections import Detections
from detection.evaluation.errors import WRONG, Errors, Kind
from detection.pictures import drawing
from sppnet.errors import one_line
from sppnet.text import score

SHOWN = (4, 6, 4)  # correct, wrong and missed examples per class, if there is room
MAX_EXAMPLES = 320  # per report, about 4 MB
LONG_SIDE = 240  # pixels of a picture
LARGEST_SCALE = 3.0  # small crops are enlarged at most so much
CONTEXT = 0.25  # margin around the boxes, as a share of their longer side
SMALLEST_CONTEXT = 12  # pixels
JPEG_QUALITY = 78
FRAME_WIDTH = 4  # pixels
CORRECT_COLOR, WRONG_COLOR = drawing.PALETTE[2], drawing.PALETTE[5]  # bluish green, vermilion
KIND_NAMES = {
    Kind.RIGHT: "correct",
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
    """One example: which part of which photo, and once `cut_pictures` has run, the picture.

    Attributes:
        record: the photo.
        title: the score of a detection, or how an object was missed.
        note: overlap with the object, and the kind of error if it is one.
        box: (4,) the detection, image pixels; None if an object has no detection.
        object: (4,) the annotated object it belongs to, image pixels; None for background.
        correct: whether the detection is correct.
        source: "data:" address of the picture; empty if the photo cannot be read.
        size: width and height of the picture.
        problem: why the photo cannot be read.
    """

    record: ImageRecord
    title: str
    note: str = ""
    box: Box | None = None
    object: Box | None = None
    correct: bool = False
    source: str = ""
    size: tuple[int, int] = (0, 0)
    problem: str = ""


@dataclass(frozen=True)
class Gallery:
    """The examples of one class.

    Attributes:
        name: the class.
        correct: correct detections with the highest scores.
        wrong: wrong detections with the highest scores.
        missing: the largest objects without a correct detection.
        counts: numbers of correct detections, wrong detections and missing objects in all.
    """

    name: str
    correct: list[Example]
    wrong: list[Example]
    missing: list[Example]
    counts: tuple[int, int, int]

    @property
    def examples(self) -> list[Example]:
        """All examples of the class."""
        return [*self.correct, *self.wrong, *self.missing]


def galleries(errors: Errors, dataset: Dataset) -> list[Gallery]:
    """Return the examples of each class with their pictures, at most `MAX_EXAMPLES` in all.

    With many classes there are fewer examples per class, and then only the classes with the most objects.
    """
    share = min(1.0, MAX_EXAMPLES / (sum(SHOWN) * max(1, len(errors.classes))))
    shown = tuple(max(1, int(n * share)) for n in SHOWN)
    room = MAX_EXAMPLES // sum(shown)
    order = np.argsort(-errors.n_objects, kind="stable")[:room]
    found = [_gallery(errors, dataset, int(label), shown) for label in sorted(order.tolist())]
    cut_pictures(example for gallery in found for example in gallery.examples)
    return found


def cut_pictures(examples: Iterable[Example]) -> None:
    """Add the pictures to examples; each photo is read once."""
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
            picture = cut(photo, example.box, example.object, CORRECT_COLOR if example.correct else WRONG_COLOR)
            example.source, example.size = _data_uri(picture), (picture.shape[1], picture.shape[0])


def cut(photo: NDArray[np.uint8], box: Box | None, thing: Box | None, color: drawing.Color) -> NDArray[np.uint8]:
    """Cut out a detection and its object, with a margin, and draw both boxes.

    Args:
        photo: uint8 RGB (H, W, 3).
        box: (4,) the detection, image pixels, drawn in `color`; or None.
        thing: (4,) the object, image pixels, drawn dashed in black and white; or None, if there is a box.
        color: RGB.

    Returns:
        uint8 RGB, with a longer side of at most `LONG_SIDE` pixels.
    """
    boxes = np.array([b for b in (box, thing) if b is not None], np.float64)
    x0, y0, x1, y1 = _crop_limits(boxes, (photo.shape[0], photo.shape[1]))
    scale = min(LONG_SIDE / max(x1 - x0, y1 - y0), LARGEST_SCALE)
    size = max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))
    picture = np.asarray(Image.fromarray(photo[y0:y1, x0:x1]).resize(size, Image.Resampling.LANCZOS))
    moved = [None if b is None else (b - [x0, y0, x0, y0] + 0.5) * scale - 0.5 for b in (box, thing)]
    if moved[1] is not None:
        picture = drawing.draw_comparison(picture, Detections.empty(), _unnamed_record(moved[1]), ("",))
    if moved[0] is not None:
        picture = _framed(picture, moved[0], color)
    return picture


def _framed(picture: NDArray[np.uint8], box: Box, color: drawing.Color) -> NDArray[np.uint8]:
    """Draw a frame that stays visible around a small box: `FRAME_WIDTH` pixels between thin white lines."""
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    limits = np.array([canvas.width, canvas.height, canvas.width, canvas.height]) - 1
    x0, y0, x1, y1 = np.clip(np.rint(box) + FRAME_WIDTH // 2 * np.array([-1, -1, 1, 1]), 0, limits).tolist()
    for inset, width, ink in ((0, FRAME_WIDTH + 2, drawing.WHITE), (1, FRAME_WIDTH, color)):
        if x1 - x0 >= 2 * inset and y1 - y0 >= 2 * inset:
            pen.rectangle((x0 + inset, y0 + inset, x1 - inset, y1 - inset), outline=ink, width=width)
    return np.asarray(canvas)


def _unnamed_record(box: Box) -> ImageRecord:
    """A record of one object, for drawing it without a label."""
    boxes = np.asarray(box, np.float32)[None]  # (1, 4)
    return ImageRecord("", Path(), (0, 0), boxes, np.zeros(1, np.int64), np.zeros(1, np.bool_))


def _crop_limits(boxes: NDArray[np.float64], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """First pixels x0, y0 and end pixels x1, y1 (exclusive) of the boxes (n, 4) with a margin, in an image (H, W)."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    margin = max(SMALLEST_CONTEXT, CONTEXT * float((high - low).max()))
    limits = np.array([size[1], size[0]])
    x0, y0 = np.clip(np.floor(low - margin), 0, limits - 1).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(high + margin) + 1, 1, limits).astype(int).tolist()
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _data_uri(picture: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "jpeg", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _gallery(errors: Errors, dataset: Dataset, label: int, shown: Sequence[int]) -> Gallery:
    ranked = errors.ranked(label)
    correct = ranked[errors.kind[ranked] == Kind.RIGHT]
    wrong = ranked[np.isin(errors.kind[ranked], [int(k) for k in WRONG])]
    truth = errors.truth
    missing = np.flatnonzero((truth.labels == label) & ~errors.found & ~truth.difficult)
    sides = truth.boxes[missing, 2:] - truth.boxes[missing, :2] + 1
    largest = missing[np.argsort(-sides.prod(axis=1), kind="stable")]
    return Gallery(
        errors.classes[label],
        [_detection_example(errors, dataset, int(d)) for d in correct[: shown[0]]],
        [_detection_example(errors, dataset, int(d)) for d in wrong[: shown[1]]],
        [_missing_example(errors, dataset, int(g)) for g in largest[: shown[2]]],
        (len(correct), len(wrong), len(missing)),
    )


def _detection_example(errors: Errors, dataset: Dataset, row: int) -> Example:
    """A detection, with its kind of error if it is wrong."""
    kind, g = Kind(int(errors.kind[row])), int(errors.object[row])
    overlap, title = f"IoU {errors.overlap[row]:.2f}", score(errors.rows.scores[row])
    note = overlap
    if kind in (Kind.SIMILAR, Kind.OTHER):
        note = f"{KIND_NAMES[kind]} ({errors.classes[errors.truth.labels[g]]}), {overlap}"
    elif kind != Kind.RIGHT:
        note = f"{KIND_NAMES[kind]}, {overlap}"
    record = dataset.records[int(errors.image[row])]
    thing = errors.truth.boxes[g] if g >= 0 else None
    return Example(record, title, note, errors.rows.boxes[row].astype(np.float64), thing, kind == Kind.RIGHT)


def _missing_example(errors: Errors, dataset: Dataset, g: int) -> Example:
    """An object without a correct detection, and the detection of its class that overlaps it most."""
    at = int(np.searchsorted(errors.truth.first, g, side="right")) - 1
    mine = np.flatnonzero((errors.image == at) & (errors.rows.labels == errors.truth.labels[g]))
    overlaps = iou(errors.rows.boxes[mine], errors.truth.boxes[g][None])[:, 0]
    note, box = "no detection of its class overlaps it", None
    if overlaps.max(initial=0.0) > 0:
        best = mine[overlaps.argmax()]
        note = f"closest box has IoU {overlaps.max():.2f}, score {score(errors.rows.scores[best])}"
        box = errors.rows.boxes[best].astype(np.float64)
    title = "missed" if errors.missed[g] else "poorly localised"
    return Example(dataset.records[at], title, note, box, errors.truth.boxes[g])
