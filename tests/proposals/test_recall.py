import json
from pathlib import Path

import numpy as np
import pytest

from data.records import Dataset, ImageRecord
from detection.boxes import iou
from proposals import recall
from proposals.recall import (
    CURVE,
    RecallResult,
    average_recall,
    best_boxes,
    box_counts,
    evaluate,
    evaluate_counts,
)


def record(name, boxes, labels, difficult=None):
    return ImageRecord(
        id=name,
        path=Path(f"{name}.jpg"),
        size=(100, 100),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        difficult=np.zeros(len(labels), bool) if difficult is None else np.array(difficult),
    )


HALF = [0, 0, 9, 4]  # half of WHOLE: IoU 0.5
LARGE = [0, 0, 9, 7]  # IoU 0.8 with WHOLE
WHOLE = [0, 0, 9, 9]
AWAY = [50, 50, 59, 59]


def test_best_overlaps_have_closed_forms():
    two, none = record("a", [WHOLE, AWAY], [0, 0]), record("a", [], [])
    np.testing.assert_allclose(evaluate({"a": [HALF, LARGE]}, [two]).overlaps, [0.8, 0.0])
    assert evaluate({"a": []}, [two]).overlaps.tolist() == [0, 0]
    assert evaluate({"a": [WHOLE]}, [none]).overlaps.shape == (0,)


def test_recall_counts_an_overlap_equal_to_the_threshold():
    result = evaluate({"a": [HALF]}, [record("a", [WHOLE], [0])])
    assert result.recall == {0.5: 1.0, 0.7: 0.0}
    assert result.mean_best_overlap == 0.5


def test_means_are_over_objects_or_over_classes():
    dataset = Dataset(
        name="x",
        classes=("cat", "dog", "cow"),
        records=(
            record("a", [WHOLE, AWAY, AWAY], [0, 0, 0]),
            record("b", [WHOLE], [1]),
        ),
    )
    result = evaluate({"a": [LARGE, HALF], "b": [HALF], "other": [WHOLE]}, dataset)
    assert result.recall == {0.5: 0.5, 0.7: 0.25}
    assert result.mean_best_overlap == pytest.approx((0.8 + 0 + 0 + 0.5) / 4)
    np.testing.assert_allclose(result.class_best_overlap, [0.8 / 3, 0.5, np.nan])
    np.testing.assert_allclose(result.class_recall[0.5], [1 / 3, 1, np.nan])
    assert result.class_mean_recall == pytest.approx({0.5: 2 / 3, 0.7: 1 / 6})
    assert result.class_mean_best_overlap == pytest.approx((0.8 / 3 + 0.5) / 2)
    assert result.objects.tolist() == [3, 1, 0]
    assert (result.boxes_per_image, result.images) == (1.5, 2)


def test_difficult_objects_are_ignored():
    result = evaluate({"a": [WHOLE]}, [record("a", [WHOLE, AWAY], [0, 0], [False, True])])
    assert result.recall == {0.5: 1.0, 0.7: 1.0}
    assert result.objects.tolist() == [1]


def test_max_boxes_uses_the_first_boxes():
    dataset = [record("a", [WHOLE], [0])]
    proposals = {"a": [AWAY, HALF, WHOLE]}
    got = [evaluate(proposals, dataset, max_boxes=n).mean_best_overlap for n in (0, 1, 2, 3, 9)]
    assert got == [0, 0, 0.5, 1, 1]
    assert evaluate(proposals, dataset, max_boxes=2).boxes_per_image == 2


def test_an_image_without_proposals_misses_its_objects():
    assert evaluate({"a": np.empty((0, 4))}, [record("a", [WHOLE], [0])]).recall == {0.5: 0, 0.7: 0}


def test_without_objects_the_measures_are_nan():
    for dataset in ([], [record("a", [], [])]):
        result = evaluate({"a": [WHOLE]}, dataset)
        assert np.isnan(result.mean_best_overlap)
        assert np.isnan(result.recall[0.5])
        assert result.images == len(dataset)


def test_a_missing_image_is_named():
    with pytest.raises(ValueError, match="no boxes for 1 of 2 images, the first is b"):
        evaluate({"a": [WHOLE]}, [record("a", [], []), record("b", [], [])])


def test_negative_max_boxes_are_refused():
    with pytest.raises(ValueError, match="max_boxes: expected 0 or more, got -1"):
        evaluate({}, [], max_boxes=-1)


def test_the_curve_is_the_recall_at_each_threshold():
    overlaps = np.array([0.0, 0.49, 0.5, 0.7, 0.71, 1.0])
    result = RecallResult(overlaps, np.zeros(6, np.int64), 1, 1.0, 1)
    np.testing.assert_allclose(result.curve([0.3, 0.5, 0.7, 0.705, 1.0]), [5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert result.curve()[CURVE.index(0.7)] == result.recall[0.7]
    assert (CURVE[0], CURVE[-1], len(result.curve())) == (0.5, 1.0, len(CURVE))


@pytest.mark.parametrize("seed", range(5))
def test_average_recall_is_twice_the_area_under_the_curve(seed):
    overlaps = np.random.default_rng(seed).random(40)
    middles = 0.5 + (np.arange(20000) + 0.5) / 40000  # midpoints of 20,000 equal steps from 0.5 to 1
    recalls = [(overlaps >= t).mean() for t in middles]
    assert average_recall(overlaps) == pytest.approx(2 * sum(recalls) / 40000, abs=1e-4)


def test_average_recall_has_closed_forms():
    assert average_recall([1.0, 1.0]) == 1
    assert average_recall([0.5, 0.2]) == 0
    assert average_recall([0.75]) == 0.5
    assert np.isnan(average_recall([]))


def test_average_recall_of_a_class_uses_its_objects_only():
    result = RecallResult(np.array([1.0, 0.75, 0.5]), np.array([0, 1, 1]), 3, 1.0, 1)
    np.testing.assert_allclose(result.class_average_recall, [1, 0.25, np.nan])
    assert result.average_recall == 0.5


def random_boxes(rng, count):
    corners = rng.integers(0, 80, (count, 2, 2))
    return np.concatenate([corners.min(1), corners.max(1)], axis=1)


def test_many_counts_in_one_pass_equal_separate_evaluations():
    rng = np.random.default_rng(3)
    names = [f"{i}" for i in range(6)]
    proposals = {name: random_boxes(rng, 12 * i) for i, name in enumerate(names)}  # the first image has none
    dataset = [record(name, random_boxes(rng, 4), rng.integers(0, 3, 4), rng.random(4) < 0.3) for name in names]
    counts = [0, 1, 7, 40, 1000, None]
    for count, result in zip(counts, evaluate_counts(proposals, dataset, counts), strict=True):
        kept = {name: boxes[:count] for name, boxes in proposals.items()}
        literal = [iou(kept[r.id], r.boxes[~r.difficult]).max(axis=0, initial=0) for r in dataset]
        np.testing.assert_array_equal(result.overlaps, np.concatenate(literal))
        assert result.boxes_per_image == np.mean([len(boxes) for boxes in kept.values()])
        alone = evaluate(proposals, dataset, count)
        np.testing.assert_equal(alone.to_dict("abc"), result.to_dict("abc"))


def test_overlaps_are_computed_once_per_image(monkeypatch):
    calls = []
    monkeypatch.setattr(recall, "iou", lambda a, b: calls.append(1) or np.zeros((len(a), len(b))))
    evaluate_counts({"a": [WHOLE]}, [record("a", [WHOLE], [0])], [1, 2, 3])
    assert len(calls) == 1


def test_counts_of_a_curve_end_with_the_largest_number_of_boxes():
    dataset = [record("a", [], []), record("b", [], [])]
    proposals = {"a": [WHOLE] * 35, "b": [WHOLE], "other": [WHOLE] * 500}
    assert box_counts(proposals, dataset) == [1, 3, 10, 30, 35]
    assert box_counts(proposals, dataset, max_boxes=10) == [1, 3, 10]
    assert box_counts({"a": [], "b": []}, dataset) == [0]
    assert box_counts({}, []) == [0]
    with pytest.raises(ValueError, match="the first is b"):
        box_counts({"a": []}, dataset)
    with pytest.raises(ValueError, match="got -1"):
        box_counts(proposals, dataset, -1)


def test_a_result_is_valid_json_without_nan():
    dataset = Dataset(name="x", classes=("cat", "dog"), records=(record("a", [WHOLE], [0]),))
    result = evaluate({"a": [LARGE]}, dataset)
    plain = json.loads(json.dumps(result.to_dict(dataset.classes), allow_nan=False))
    assert plain["recall"] == {"0.5": 1.0, "0.7": 1.0}
    assert plain["average_recall"] == pytest.approx(0.6)
    assert plain["curve"]["recall"][plain["curve"]["iou"].index(0.81)] == 0
    assert plain["classes"]["cat"]["best_overlap"] == pytest.approx(0.8)
    assert plain["classes"]["dog"] == {
        "objects": 0,
        "recall": {"0.5": None, "0.7": None},
        "average_recall": None,
        "best_overlap": None,
    }
    assert "classes" not in result.to_dict()
    json.dumps(evaluate({}, []).to_dict(), allow_nan=False)
    with pytest.raises(ValueError, match="expected 2 names, got 1"):
        result.to_dict(["cat"])


def test_the_best_box_is_the_first_of_the_best():
    index, overlaps = best_boxes([AWAY, HALF, LARGE, LARGE], [WHOLE, AWAY])
    assert index.tolist() == [2, 0]
    np.testing.assert_allclose(overlaps, [0.8, 1])
    assert best_boxes([WHOLE], [])[0].shape == (0,)
    with pytest.raises(ValueError, match="boxes: expected at least one"):
        best_boxes([], [WHOLE])
