"""One image's detections in other terms: rows of plain values, text, COCO, pandas, torchvision, supervision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas
    import supervision

    from detection.detections import Detections

LINES = 20  # of detections printed in full
ONE_PAST = np.array([0, 0, 1, 1], np.float32)  # what makes our last pixels others' edges


def records(found: Detections) -> list[dict[str, Any]]:
    """One dictionary a detection, best first: class, label, score, box (x0, y0, x1, y1, inclusive image pixels)."""
    best = found.sorted()
    columns = (best.names, best.labels.tolist(), best.scores.tolist(), best.boxes.tolist())
    return [dict(zip(("class", "label", "score", "box"), row, strict=True)) for row in zip(*columns, strict=True)]


def text(found: Detections) -> str:
    """A line for each of the best, and how many there are."""
    lines = [f"{len(found)} detection{'s' * (len(found) != 1)}"]
    for row in records(found.top(LINES)):
        x0, y0, x1, y1 = (round(v) for v in row["box"])
        lines.append(f"  {row['class']:<14} {row['score']:6.2f}   ({x0}, {y0}) to ({x1}, {y1})")
    return "\n".join([*lines, *(["  …"] if len(found) > LINES else [])])


def to_coco(found: Detections, image_id: int) -> list[dict[str, Any]]:
    """COCO's results format: bbox is x, y, width, height, category_id the label plus one."""
    from detection.evaluation.coco import to_coco_json

    return to_coco_json({"image": found}, {"image": image_id})


def to_pandas(found: Detections) -> pandas.DataFrame:
    """A row a detection, best first: class, label, score, x0, y0, x1, y1.

    Raises:
        ImportError: pandas is not installed.
    """
    import pandas

    best = found.sorted()
    boxes = dict(zip(("x0", "y0", "x1", "y1"), best.boxes.T, strict=True))
    return pandas.DataFrame({"class": best.names, "label": best.labels, "score": best.scores, **boxes})


def to_torchvision(found: Detections) -> dict[str, Any]:
    """What torchvision's detectors return: boxes whose right and lower edges are one past the last pixel, labels
    that count the background as 0, scores."""
    import torch

    return {
        "boxes": torch.as_tensor(found.boxes + ONE_PAST, dtype=torch.float32),
        "labels": torch.as_tensor(found.labels + 1),
        "scores": torch.as_tensor(found.scores, dtype=torch.float32),
    }


def to_supervision(found: Detections) -> supervision.Detections:
    """For Roboflow's supervision: boxes as torchvision's, labels as ours.

    Raises:
        ImportError: supervision is not installed.
    """
    import supervision

    return supervision.Detections(
        xyxy=(found.boxes + ONE_PAST).astype(np.float32),
        confidence=found.scores.astype(np.float32),
        class_id=found.labels,
        data={"class_name": np.array(found.names)},
    )
