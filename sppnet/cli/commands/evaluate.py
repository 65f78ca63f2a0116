"""Average precision of a detector, or of comp4 result files written by any program, on a split of labelled photos.

sppnet evaluate --model lite0-voc2007 --voc2007
sppnet evaluate --comp4 results/ --devkit VOCdevkit --split test
"""

from __future__ import annotations

from typing import Any

from sppnet.settings.commands import EvaluateSettings

SETTINGS = EvaluateSettings


def run(settings: EvaluateSettings) -> dict[str, Any]:
    """Return average precisions and curves."""
    from detection.evaluation import results, voc
    from sppnet.run import DataSource
    from sppnet.text import NOT_AVAILABLE, left_out, percent

    s = settings
    if (s.comp4 is None) == (s.model is None):
        raise ValueError("what is to be evaluated? give --model with a detector, or --comp4 with a folder of results")
    source = DataSource.of(s)
    split = s.split or source.usual_split("test")
    if s.model is not None:
        from detection.detector import SPPDetector
        from sppnet.api import detect_all

        if s.classes:
            raise ValueError("--classes: only for --comp4, as a model has its own classes; leave it out")
        weights = s.weights or "pretrained"
        detector = SPPDetector.from_pretrained(
            s.model, device=s.device, weights=weights, inference=s.inference, nms_iou=s.nms_iou
        )
        dataset = source.load(split, detector.classes)
        detections: Any = detect_all(detector, dataset)
    else:
        if given := next((f for f in ("inference", "nms_iou") if getattr(s, f) is not None), None):
            flag = f"--{given.replace('_', '-')}"
            raise ValueError(f"{flag}: only for --model; result files hold detections already, leave it out")
        dataset = source.load(split, s.classes)
        detections = results.read_comp4(s.comp4, dataset.classes, split)  # type: ignore[arg-type]
    scored = voc.evaluate(detections, dataset, s.iou, s.metric)
    print(results.format_table(dataset.classes, {"AP": scored}))
    print(f"mAP {percent(scored.mean_ap, 2, NOT_AVAILABLE)} ({s.metric}, IoU {s.iou:g})")
    result = results.summary(scored, curves=True)
    if not dataset.left_out:
        return result
    print(left_out(dataset.left_out))
    return result | {"left_out": dataset.left_out}
