from pathlib import Path

import numpy as np
import pytest

from data.records import ImageRecord
from detection.detections import Detections
from detection.evaluation.coco import evaluate, to_coco_json

BIG = (0, 0, 99, 99)  # 10,000 pixels, "large"
MEDIUM = (200, 200, 249, 249)  # 2,500
SMALL = (300, 300, 309, 309)  # 100


def record(image_id, boxes, labels, difficult=None):
    n = len(boxes)
    return ImageRecord(
        image_id,
        Path("x.jpg"),
        (400, 400),
        np.array(boxes, np.float32).reshape(n, 4),
        np.array(labels, np.int64),
        np.array(difficult if difficult is not None else [False] * n, np.bool_),
    )


def found(boxes, scores, labels):
    return Detections(np.array(boxes, np.float32), np.array(scores, np.float32), np.array(labels))


def test_detections_equal_to_the_objects_score_one_at_every_size():
    truth = [record("a", [BIG, MEDIUM, SMALL], [0, 1, 2]), record("b", [], [])]
    result = evaluate({"a": found([BIG, MEDIUM, SMALL], [3, 2, 1], [0, 1, 2])}, truth)
    numbers = [result.ap, result.ap50, result.ap75, result.ap_small, result.ap_medium, result.ap_large]
    numbers += [result.ar1, result.ar10, result.ar100, result.ar_small, result.ar_medium, result.ar_large]
    assert numbers == pytest.approx([1] * 12)
    assert result.class_ap.tolist() == pytest.approx([1] * 3)
    assert result.classes == ("0", "1", "2")


def test_an_overlap_of_seventy_three_percent_passes_five_of_ten_thresholds():
    shorter = (0, 0, 99, 72)  # 73 of 100 rows: above .5 .55 .6 .65 .7
    result = evaluate({"a": found([shorter], [1], [0])}, [record("a", [BIG], [0])])
    assert (result.ap, result.ap50, result.ap75) == pytest.approx((0.5, 1, 0))
    assert result.ar100 == pytest.approx(0.5)


def test_a_better_scored_wrong_detection_halves_the_precision():
    detections = {"a": found([SMALL, BIG], [2, 1], [0, 0])}
    result = evaluate(detections, [record("a", [BIG], [0])])
    assert result.ap50 == pytest.approx(0.5)
    assert result.ar1 == 0  # the only one allowed is wrong


def test_classes_are_averaged_and_those_without_objects_are_left_out():
    truth = [record("a", [BIG, MEDIUM], [0, 1])]
    result = evaluate({"a": found([BIG], [1], [0])}, truth, ["x", "y", "z"])
    assert result.ap == pytest.approx(0.5)
    np.testing.assert_allclose(result.class_ap50, [1, 0, np.nan])


def test_difficult_objects_do_not_change_the_result():
    truth = [record("a", [BIG, MEDIUM], [0, 0], [False, True])]
    without = evaluate({"a": found([BIG], [1], [0])}, truth)
    twice = evaluate({"a": found([MEDIUM, MEDIUM, BIG], [3, 2, 1], [0, 0, 0])}, truth)
    assert without.ap == pytest.approx(1)
    assert twice.ap == pytest.approx(1)


def test_no_detections_score_zero():
    for detections in ({}, {"a": Detections.empty()}):
        result = evaluate(detections, [record("a", [BIG], [0])])
        assert (result.ap, result.ap_large) == (0, 0)
        assert np.isnan(result.ap_small)


def test_without_objects_or_classes_the_result_is_nan():
    assert np.isnan(evaluate({}, [record("a", [], [])], ["x"]).ap)
    result = evaluate({}, [record("a", [], [])])
    assert np.isnan(result.ap)
    assert result.class_ap.shape == (0,)


def test_nothing_is_printed(capsys):
    evaluate({"a": found([BIG], [1], [0])}, [record("a", [BIG], [0])])
    assert capsys.readouterr() == ("", "")


def test_unknown_images_and_labels_are_refused():
    truth = [record("a", [BIG], [0])]
    with pytest.raises(ValueError, match="not in the ground truth"):
        evaluate({"b": found([BIG], [1], [0])}, truth)
    with pytest.raises(ValueError, match="label 5"):
        evaluate({"a": found([BIG], [1], [5])}, truth)


class TestJson:
    def test_entries_have_cocos_format(self):
        entries = to_coco_json({"000139": found([BIG, SMALL], [0.5, 0.25], [0, 2])})
        assert entries == [
            {"image_id": 139, "category_id": 1, "bbox": [0, 0, 100, 100], "score": 0.5},
            {"image_id": 139, "category_id": 3, "bbox": [300, 300, 10, 10], "score": 0.25},
        ]

    def test_image_and_category_ids_can_be_given(self):
        entries = to_coco_json({"dog": found([BIG], [1], [1])}, {"dog": 7}, [10, 90])
        assert [(e["image_id"], e["category_id"]) for e in entries] == [(7, 90)]

    @pytest.mark.parametrize(
        ("ids", "options", "match"),
        [
            (["dog"], {}, "'dog': COCO image ids are numbers; pass image_ids"),
            (["²"], {}, "are numbers"),
            (["1", "01"], {}, "the same COCO image id"),
            (["1"], {"image_ids": {}}, "image '1' is missing"),
            (["1"], {"category_ids": []}, "do not fit 0 category ids"),
        ],
    )
    def test_ids_without_a_coco_id_are_refused(self, ids, options, match):
        with pytest.raises(ValueError, match=match):
            to_coco_json({i: found([BIG], [1], [0]) for i in ids}, **options)

    def test_no_detections_give_an_empty_list(self):
        assert to_coco_json({}) == []
