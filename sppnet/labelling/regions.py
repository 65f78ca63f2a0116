"""Boxes as Label Studio's annotations and predictions hold them: in percent of the photo, perhaps rotated."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detection.detections import Detections
from sppnet.labelling.label_config import LabelConfig

KIND = "rectanglelabels"
DECIMALS = 2  # of pixels, in what is learned and stored
SMALLEST = 2  # pixels of a side
Box = tuple[float, float, float, float]  # xyxy, 0-based inclusive image pixels


@dataclass(frozen=True)
class LabelledBoxes:
    """The boxes of an annotation.

    Attributes:
        boxes: xyxy, 0-based inclusive image pixels, clipped to the photo.
        labels: the name of each.
        left_out: why -> number of regions that were left out.
    """

    boxes: tuple[Box, ...]
    labels: tuple[str, ...]
    left_out: Mapping[str, int]


def read_regions(result: Any, config: LabelConfig, size: tuple[int, int]) -> LabelledBoxes:
    """Read the rectangles of an annotation.

    A rotated rectangle becomes its bounding box. Regions of other tags are ignored.

    Args:
        result: the "result" of an annotation, a list of regions.
        config: tags and labels.
        size: (H, W) of the photo in pixels.

    Returns:
        the boxes; labels that the configuration lacks, regions without area and damaged ones are left out and counted.
    """
    boxes: list[Box] = []
    labels: list[str] = []
    left_out: Counter[str] = Counter()
    for region in result if isinstance(result, list) else []:
        if not isinstance(region, dict) or region.get("type") != KIND or region.get("from_name") != config.from_name:
            continue
        try:
            names, box = _labels(region["value"]), _box(region, size)
        except (KeyError, TypeError, ValueError, OverflowError):
            left_out["damaged"] += 1
            continue
        for name in names:
            if name not in config.labels:
                left_out[f"label {name!r} not in the configuration"] += 1
            elif box is None:
                left_out["without area in the photo"] += 1
            else:
                boxes.append(box)
                labels.append(name)
        left_out["without a label"] += not names
    return LabelledBoxes(tuple(boxes), tuple(labels), {why: n for why, n in left_out.items() if n})


def _labels(value: Any) -> list[str]:
    if not isinstance(value, Mapping):
        raise ValueError
    names = value.get(KIND) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError
    return [name.strip() for name in names]


def _box(region: Mapping[str, Any], size: tuple[int, int]) -> Box | None:
    """Return the bounding box of a region within the photo; None if nothing of it is inside."""
    height, width = size
    value = region["value"]
    x, y, w, h, angle = (float(value.get(name, 0)) for name in ("x", "y", "width", "height", "rotation"))
    if not all(map(math.isfinite, (x, y, w, h, angle))) or region.get("image_rotation"):
        raise ValueError
    x, w, y, h = x * width / 100, w * width / 100, y * height / 100, h * height / 100
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # The rectangle turns clockwise around its first corner.
    xs = [x + a * cos - b * sin for a, b in ((0, 0), (w, 0), (0, h), (w, h))]
    ys = [y + a * sin + b * cos for a, b in ((0, 0), (w, 0), (0, h), (w, h))]
    x0, y0 = max(min(xs), 0), max(min(ys), 0)
    x1, y1 = min(max(xs), width) - 1, min(max(ys), height) - 1
    box = tuple(round(v, DECIMALS) for v in (x0, y0, max(x1, x0), max(y1, y0)))
    inside = min(max(xs), width) - x0 >= SMALLEST and min(max(ys), height) - y0 >= SMALLEST
    return (box[0], box[1], box[2], box[3]) if inside else None


def write_regions(found: Detections, config: LabelConfig, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Return detections as the regions of a prediction, the most likely first.

    Args:
        found: the detections to show, with class names.
        config: tags and labels; detections of other classes are left out.
        size: (H, W) of the photo in pixels.
    """
    height, width = size
    best = found.sorted()
    rows = zip(best.names, best.boxes.astype(np.float64).tolist(), confidences(best), strict=True)
    return [
        {
            "id": f"sppnet-{number}",
            "type": KIND,
            "from_name": config.from_name,
            "to_name": config.to_name,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "x": 100 * x0 / width,
                "y": 100 * y0 / height,
                "width": 100 * (x1 + 1 - x0) / width,
                "height": 100 * (y1 + 1 - y0) / height,
                "rotation": 0,
                KIND: [name],
            },
            "score": score,
        }
        for number, (name, (x0, y0, x1, y1), score) in enumerate(rows)
        if name in config.labels
    ]


def confidences(found: Detections) -> Sequence[float]:
    """Return a number from 0 to 1 for each detection.

    It is its probability or, of a model without probabilities, 1 / (1 + exp(-2 margin)), which only ranks.
    """
    known = found.probabilities
    scores = 1 / (1 + np.exp(-2 * found.scores.astype(np.float64))) if known is None else known
    return [round(float(score), 4) for score in scores]
