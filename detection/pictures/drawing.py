"""Boxes drawn on images: detections in colour, ground truth dashed in black and white."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from detection.boxes import as_boxes
from detection.image import as_rgb

if TYPE_CHECKING:
    from data.records import ImageRecord
    from detection.detections import Detections

Color = tuple[int, int, int]

PALETTE: tuple[Color, ...] = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
"""Colours that colour-blind people can distinguish: Okabe and Ito, "Color Universal Design" (2008), without black."""

BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)

_FONT_FRACTION = 1 / 32
"""Height of letters as a share of the shorter image side; letters have at least 11 px."""

_Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Mark:
    """A box to draw: a frame in `color`, or a dashed frame in black and white with its label at the bottom."""

    box: _Rectangle
    text: str
    color: Color
    dashed: bool = False


@dataclass(frozen=True)
class _Style:
    """Font and line sizes in pixels for an image."""

    font: ImageFont.ImageFont | ImageFont.FreeTypeFont
    line: int
    dash: int

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> _Style:
        short = min(image.shape[:2])
        letters = max(11, round(short * _FONT_FRACTION))
        return cls(ImageFont.load_default(letters), max(2, short // 180), max(4, short // 50))


def draw(
    image: ArrayLike,
    boxes: ArrayLike,
    texts: Sequence[str] | None = None,
    scores: ArrayLike | None = None,
    colors: Sequence[Color] | None = None,
) -> NDArray[np.uint8]:
    """Draw labelled boxes on a copy of an image.

    Boxes with higher scores are drawn over boxes with lower ones. A label is written on a plate of the box's colour,
    above the box or, if there is no space, inside or below it.

    Args:
        image: uint8 RGB (H, W, 3) or grey (H, W).
        boxes: (N, 4), xyxy, 0-based inclusive image pixels.
        texts: N labels, where an empty one is not drawn; None for no labels.
        scores: (N,), appended to the labels and used as drawing order; None for the order of `boxes`.
        colors: N RGB colours in 0..255. None for one colour per different text, from `PALETTE`.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ValueError: the image is not uint8, or an argument does not have N items.
    """
    boxes = as_boxes(boxes)
    texts = [""] * len(boxes) if texts is None else list(texts)
    if colors is None:
        known = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        colors = [PALETTE[known[text] % len(PALETTE)] for text in texts]
    values = None if scores is None else np.asarray(scores, np.float64).reshape(-1)
    for name, items in (("texts", texts), ("colors", colors), ("scores", values)):
        if items is not None and len(items) != len(boxes):
            raise ValueError(f"{name}: expected {len(boxes)}, one per box, got {len(items)}")
    order = list(range(len(boxes)))
    if values is not None:
        texts = [f"{text} {score:.2f}".strip() for text, score in zip(texts, values, strict=True)]
        order = np.argsort(values, kind="stable").tolist()  # the best last
    return _render(as_rgb(image), [_Mark(_ordered(boxes[i]), texts[i], colors[i]) for i in order])


def draw_detections(
    image: ArrayLike, detections: Detections, classes: Sequence[str], min_score: float | None = None
) -> NDArray[np.uint8]:
    """Draw detections with class and probability (score without a calibration), one colour per class, the best on top.

    Args:
        image: uint8 RGB (H, W, 3).
        detections: the detections of the image.
        classes: class names in label order.
        min_score: the lowest score to draw; None draws all detections.

    Returns:
        uint8 RGB (H, W, 3).
    """
    return _render(as_rgb(image), _detection_marks(detections, classes, min_score))


def draw_comparison(
    image: ArrayLike,
    detections: Detections,
    record: ImageRecord,
    classes: Sequence[str],
    min_score: float | None = None,
) -> NDArray[np.uint8]:
    """Draw detections in colour over the ground truth.

    Annotated objects have dashed frames in black and white and labels at the bottom; the labels of difficult objects
    end with a star. `Detections.empty()` draws the ground truth alone.

    Args:
        image: uint8 RGB (H, W, 3).
        detections: the detections of the image.
        record: the annotation of the image.
        classes: class names in label order.
        min_score: the lowest score to draw; None draws all detections.

    Returns:
        uint8 RGB (H, W, 3).
    """
    truth = [
        _Mark(_ordered(box), classes[label] + "*" * bool(difficult), WHITE, dashed=True)
        for box, label, difficult in zip(as_boxes(record.boxes), record.labels, record.difficult, strict=True)
    ]
    return _render(as_rgb(image), truth + _detection_marks(detections, classes, min_score))


def _detection_marks(detections: Detections, classes: Sequence[str], min_score: float | None) -> list[_Mark]:
    """Convert detections to marks, the best last."""
    shown = detections.filter(min_score).sorted()[::-1]
    return [
        _Mark(_ordered(box), f"{classes[label]} {confidence:.2f}", PALETTE[label % len(PALETTE)])
        for box, confidence, label in zip(as_boxes(shown.boxes), shown.confidences, shown.labels, strict=True)
    ]


def _render(image: NDArray[np.uint8], marks: Sequence[_Mark]) -> NDArray[np.uint8]:
    """Draw all frames, the last on top, and then all labels; the last mark's label is placed first."""
    style = _Style.of(image)
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    for mark in marks:
        if mark.dashed:
            _dashed_outline(pen, mark.box, style)
        else:
            _outline(pen, mark.box, mark.color, style)
    taken: list[_Rectangle] = []
    for mark in reversed(marks):
        if mark.text:
            _label(pen, mark, style, canvas.size, taken)
    return np.array(canvas)


def _outline(pen: ImageDraw.ImageDraw, box: _Rectangle, color: Color, style: _Style) -> None:
    """Draw a frame between two thin contrasting lines, so that it is visible on any background."""
    x1, y1, x2, y2 = box
    contrast = _contrast(color)
    for inset, line_color in ((-1, contrast), (style.line, contrast)):
        if x2 - x1 > 2 * inset and y2 - y1 > 2 * inset:
            pen.rectangle((x1 + inset, y1 + inset, x2 - inset, y2 - inset), outline=line_color, width=1)
    pen.rectangle((x1, y1, x2, y2), outline=color, width=style.line)


def _dashed_outline(pen: ImageDraw.ImageDraw, box: _Rectangle, style: _Style) -> None:
    """Draw a black frame with white dashes."""
    x1, y1, x2, y2 = box
    pen.rectangle((x1, y1, x2, y2), outline=BLACK, width=style.line)
    thick = style.line - 1
    for x in np.arange(x1, x2, 2 * style.dash):
        end = min(x + style.dash, x2)
        pen.rectangle((x, y1, end, min(y1 + thick, y2)), fill=WHITE)
        pen.rectangle((x, max(y2 - thick, y1), end, y2), fill=WHITE)
    for y in np.arange(y1, y2, 2 * style.dash):
        end = min(y + style.dash, y2)
        pen.rectangle((x1, y, min(x1 + thick, x2), end), fill=WHITE)
        pen.rectangle((max(x2 - thick, x1), y, x2, end), fill=WHITE)


def _label(
    pen: ImageDraw.ImageDraw, mark: _Mark, style: _Style, canvas: tuple[int, int], taken: list[_Rectangle]
) -> None:
    """Write a label on a plate near the box, if possible outside the `taken` rectangles, and append its rectangle."""
    left, top, right, bottom = pen.textbbox((0, 0), mark.text, font=style.font)
    pad = max(2, round((bottom - top) * 0.2))
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    places = list(_places(mark, (width, height), canvas))
    free = (p for p in places if not any(_meet((*p, p[0] + width, p[1] + height), t) for t in taken))
    x, y = next(free, places[0])
    plate = (x, y, x + width, y + height)
    taken.append(plate)
    ink = _contrast(mark.color)
    pen.rectangle(plate, fill=mark.color, outline=ink)
    pen.text((x + pad - left, y + pad - top), mark.text, fill=ink, font=style.font)


def _places(mark: _Mark, plate: tuple[float, float], canvas: tuple[int, int]) -> Iterator[tuple[float, float]]:
    """Yield upper left corners for a plate inside the canvas, in order of preference."""
    x1, y1, x2, y2 = mark.box
    width, height = plate
    left, right = x1, x2 - width
    above, inside_top, inside_bottom, below = y1 - height, y1, y2 - height, y2
    rows = (inside_bottom, below, inside_top, above) if mark.dashed else (above, inside_top, below, inside_bottom)
    fits = [y for y in rows if 0 <= y <= canvas[1] - 1 - height] or [inside_top]
    for y in fits:
        for x in (left, right):
            yield (max(0, min(x, canvas[0] - 1 - width)), max(0, min(y, canvas[1] - 1 - height)))


def _meet(a: _Rectangle, b: _Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _ordered(box: NDArray[np.float64]) -> _Rectangle:
    """Round a box to pixels and order its corners."""
    x1, y1, x2, y2 = (float(v) for v in np.rint(box))
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _contrast(color: Color) -> Color:
    """Return black or white, whichever has more contrast to `color`, by the relative luminance of ITU-R BT.709."""
    linear = [(c / 255) ** 2.2 for c in color]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return BLACK if luminance > 0.179 else WHITE  # at 0.179, the contrast to both is equal (WCAG 2)
