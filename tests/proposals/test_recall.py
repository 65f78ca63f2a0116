from pathlib import Path

import numpy as np
import pytest

from data.records import Dataset, ImageRecord
from proposals.recall import best_overlaps, evaluate


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


def test_closed_forms_of_overlap():
    np.testing.assert_allclose(best_overlaps([HALF, LARGE], [WHOLE, AWAY]), [0.8, 0.0])
    assert best_overlaps([], [WHOLE]).tolist() == [0]
    assert best_overlaps([WHOLE], []).shape == (0,)


def test_recall_counts_an_overlap_equal_to_the_threshold():
    result = evaluate({"a": [HALF]}, [record("a", [WHOLE], [0])])
    assert result.recall == {0.5: 1.0, 0.7: 0.0}
    assert result.mean_best_overlap == 0.5


def test_objects_count_once_each_and_classes_once_each():
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


def test_difficult_objects_do_not_count():
    result = evaluate({"a": [WHOLE]}, [record("a", [WHOLE, AWAY], [0, 0], [False, True])])
    assert result.recall == {0.5: 1.0, 0.7: 1.0}
    assert result.objects.tolist() == [1]


def test_max_boxes_takes_the_first():
    dataset = [record("a", [WHOLE], [0])]
    proposals = {"a": [AWAY, HALF, WHOLE]}
    got = [evaluate(proposals, dataset, max_boxes=n).mean_best_overlap for n in (0, 1, 2, 3, 9)]
    assert got == [0, 0, 0.5, 1, 1]
    assert evaluate(proposals, dataset, max_boxes=2).boxes_per_image == 2


def test_an_image_without_proposals_misses_its_objects():
    assert evaluate({"a": np.empty((0, 4))}, [record("a", [WHOLE], [0])]).recall == {0.5: 0, 0.7: 0}


def test_without_objects_the_answer_is_nan():
    for dataset in ([], [record("a", [], [])]):
        result = evaluate({"a": [WHOLE]}, dataset)
        assert np.isnan(result.mean_best_overlap)
        assert np.isnan(result.recall[0.5])
        assert result.images == len(dataset)


def test_a_missing_image_is_named():
    with pytest.raises(ValueError, match="no boxes for 1 of 2 images, first b"):
        evaluate({"a": [WHOLE]}, [record("a", [], []), record("b", [], [])])


def test_negative_max_boxes_are_refused():
    with pytest.raises(ValueError, match="max_boxes: expected 0 or more, got -1"):
        evaluate({}, [], max_boxes=-1)
