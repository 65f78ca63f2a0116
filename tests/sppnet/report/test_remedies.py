"""What the report advises, for runs whose errors are known."""

from pathlib import Path

import numpy as np
import pytest

from data.records import Dataset, ImageRecord
from detection.config import PAPER
from detection.detection_table import DetectionTable
from detection.detections import Detections
from proposals.recall import RecallResult
from sppnet.report.remedies import Remedy, remedies
from sppnet.report.tested_run import Scores, TestedRun
from sppnet.run import Run

CLASSES = ("small", "large")
AT_688 = PAPER.with_scales((688,))


def truth(small=30, labels=(0, 1)):
    """Ten photos of 480 x 640 pixels, each with an object of either class."""
    boxes = np.float32([[20, 20, 20 + small - 1, 20 + small - 1], [200, 100, 399, 299]])
    labels, easy = np.array(labels), np.zeros(2, np.bool_)
    records = (ImageRecord(str(i), Path(f"{i}.jpg"), (480, 640), boxes, labels, easy) for i in range(10))
    return Dataset("made", CLASSES, tuple(records))


def run_of(found, dataset=None, config=AT_688, source="ss"):
    """A tested run with the same detections, (box, score, label), in every photo."""
    boxes, scores, labels = zip(*found, strict=True)
    one = Detections(np.float32(boxes), np.float32(scores), np.array(labels))
    dataset = dataset or truth()
    table = DetectionTable.of({r.id: one for r in dataset})
    model = {"config": config.to_dict(), "proposals": {"source": source}}
    return TestedRun(Run(Path("runs/made"), None), "", "test", model, dataset, (), (), (), {"regressed": table})


def advice(run, covered=(1.0, 1.0)):
    recall = RecallResult(np.repeat(covered, 10), np.repeat([0, 1], 10), 2, 2000.0, 10)
    return list(remedies(run, Scores.of(run, "area"), {"ss": recall}))


def right(dataset, *labels):
    return [(dataset.records[0].boxes[k], 1.0, k) for k in labels]


def test_a_perfect_detector_needs_nothing():
    assert advice(run_of(right(truth(), 0, 1))) == []


def test_a_weak_class_of_small_objects_needs_larger_photos():
    (found,) = advice(run_of(right(truth(), 1)))
    assert found == Remedy(
        "Objects of weak classes span few cells of the map at a short side of 688: small 2.7", "--scales 864"
    )
    assert advice(run_of(right(truth(), 1), config=PAPER.with_scales((1200,)))) == []
    assert advice(run_of(right(truth(80), 1), truth(80))) == []


def test_a_weak_class_without_windows_needs_others():
    run = run_of(right(truth(80), 1), truth(80))
    (found,) = advice(run, covered=(0.3, 0.9))
    assert found == Remedy("The windows of ss cover only 0.0 % of small", "--proposals ss+grid")
    assert advice(run_of(right(truth(80), 1), truth(80), source="ss+grid"), covered=(0.3, 0.9)) == []


@pytest.mark.parametrize(("inference", "expected"), [("paper", True), ("fast", True), ("best", False)])
def test_badly_placed_boxes_need_another_inference(inference, expected):
    moved = truth().records[0].boxes[1] + [60, 60, 60, 60]
    config = PAPER.with_scales((1200,)).with_inference(inference)
    found = advice(run_of([*right(truth(), 0), (moved, 1.0, 1)], config=config))
    assert [r.command for r in found] == ["--inference best"] * expected
    assert not found or found[0].error.startswith("50.0 points of mAP are lost to badly placed boxes")


def test_second_detections_need_a_smaller_overlap():
    dataset = truth(80, labels=(0, 0))
    first, second = dataset.records[0].boxes
    found = advice(run_of([(first, 3.0, 0), (first - 1, 2.0, 0), (second, 1.0, 0)], dataset))
    assert [r.command for r in found] == ["--nms-iou 0.2"]


def test_confused_classes_need_more_photos():
    dataset = truth(80)
    wrong = [(dataset.records[0].boxes[1], 2.0, 0), (dataset.records[0].boxes[0], 2.0, 1)]
    found = advice(run_of([*right(dataset, 0, 1), *wrong], dataset))
    assert [r.command for r in found] == ["sppnet suggest PHOTOS --model runs/made/model"]
