from pathlib import Path

import numpy as np
import pytest

from data.records import Dataset, ImageRecord
from detection.detection_table import DetectionTable
from detection.detections import Detections
from detection.evaluation.voc import average_precision, evaluate, precision_recall
from tests.reference import voc_eval

BOX = (10, 10, 19, 19)  # 100 pixels
HALF = (10, 10, 19, 29)  # 200 pixels, contains BOX: an IoU of exactly 0.5
FAR = (100, 100, 119, 119)


def record(image_id, boxes, labels=None, difficult=None):
    n = len(boxes)
    return ImageRecord(
        image_id,
        Path(f"{image_id}.jpg"),
        (200, 200),
        np.array(boxes, np.float32).reshape(n, 4),
        np.array([0] * n if labels is None else labels, np.int64),
        np.array([False] * n if difficult is None else difficult, np.bool_),
    )


def found(boxes, scores, labels=None):
    return Detections(np.array(boxes, np.float32), scores, np.array([0] * len(scores) if labels is None else labels))


def verdicts(detections, records, **options):
    """Return the AP and the true positives of the only class."""
    result = evaluate(detections, records, classes=["thing"], **options)
    return float(result.ap[0]), result.correct[0].astype(int).tolist()


class TestAveragePrecision:
    @pytest.mark.parametrize(
        ("right", "n", "eleven", "area"),
        [  # calculated by hand from the devkit's definition
            ([1], 1, 1, 1),
            ([1, 0, 1], 2, 0.848485, 0.833333),
            ([0, 1], 1, 0.5, 0.5),
            ([1, 1, 0, 0, 1], 4, 0.654545, 0.65),
            ([1, 0, 1, 1, 0, 1, 0, 0], 5, 0.666667, 0.633333),
            ([0, 0], 3, 0, 0),
            ([], 3, 0, 0),
        ],
    )
    def test_the_published_rules_give_these_numbers(self, right, n, eleven, area):
        precision, recall = precision_recall(right, n)
        assert average_precision(recall, precision, "voc07") == pytest.approx(eleven, abs=5e-7)
        assert average_precision(recall, precision, "area") == pytest.approx(area, abs=5e-7)

    def test_a_recall_of_exactly_six_tenths_reaches_the_threshold(self):
        precision, recall = precision_recall([1, 0, 1, 1, 0, 1, 0, 0], 5)
        wrong = [max(precision[recall >= t], default=0) for t in np.arange(0, 1.1, 0.1)]
        assert np.mean(wrong) == pytest.approx(0.659091, abs=5e-7)  # the result of thresholds with rounding errors
        assert average_precision(recall, precision) > np.mean(wrong)

    @pytest.mark.parametrize("n", [10, 20, 30, 70, 110])
    def test_every_tenth_is_reached_by_its_own_recall(self, n):
        for k in range(1, 11):
            recall = np.arange(1, n * k // 10 + 1) / n
            assert average_precision(recall, np.ones(len(recall))) == pytest.approx((k + 1) / 11)

    def test_a_nan_recall_gives_a_nan_average(self):
        precision, recall = precision_recall([0, 0], 0)
        assert np.isnan(average_precision(recall, precision))

    def test_unknown_metrics_and_curves_of_different_lengths_are_refused(self):
        with pytest.raises(ValueError, match="expected one of voc07, area, got 'voc12'"):
            average_precision([], [], "voc12")
        with pytest.raises(ValueError, match="of the same shape"):
            average_precision([0.1], [])


class TestMatching:
    def test_an_iou_equal_to_the_threshold_is_right(self):
        truth = [record("a", [BOX])]
        assert verdicts({"a": found([HALF], [1])}, truth) == (1, [1])
        beyond = (10, 10, 19, 29.01)
        assert verdicts({"a": found([beyond], [1])}, truth) == (0, [0])

    def test_corners_are_inclusive(self):
        assert verdicts({"a": found([(0, 0, 0, 1)], [1])}, [record("a", [(0, 0, 0, 0)])]) == (1, [1])

    def test_the_second_detection_of_an_object_is_wrong(self):
        assert verdicts({"a": found([BOX, BOX], [1, 2])}, [record("a", [BOX])]) == (1, [1, 0])

    def test_only_the_object_with_the_largest_iou_is_tried(self):
        near = (11, 10, 20, 19)
        truth = [record("a", [BOX, near])]  # both detections overlap BOX most, but also `near` enough
        assert verdicts({"a": found([BOX, BOX], [2, 1])}, truth) == (pytest.approx(6 / 11), [1, 0])

    def test_among_equal_ious_the_first_object_is_taken(self):
        left, right, middle = (0, 0, 9, 9), (2, 0, 11, 9), (1, 0, 10, 9)
        truth = [record("a", [left, right], difficult=[True, False])]
        assert verdicts({"a": found([middle], [1])}, truth)[1] == []  # ignored because `left` is difficult

    def test_any_number_of_detections_of_a_difficult_object_are_ignored(self):
        truth = [record("a", [BOX, FAR], difficult=[True, False])]
        assert verdicts({"a": found([BOX, BOX, FAR], [3, 2, 1])}, truth) == (1, [1])

    def test_a_difficult_object_with_the_larger_iou_takes_the_detection_from_an_easier_one(self):
        near = (12, 10, 21, 19)
        truth = [record("a", [near, BOX], difficult=[False, True])]
        assert verdicts({"a": found([BOX], [1])}, truth) == (0, [])

    def test_difficult_objects_do_not_lower_the_recall(self):
        truth = [record("a", [BOX, FAR], difficult=[False, True])]
        assert verdicts({"a": found([BOX], [1])}, truth) == (1, [1])

    def test_objects_of_another_image_or_class_do_not_count(self):
        truth = [record("a", [BOX]), record("b", [FAR])]
        assert verdicts({"b": found([BOX], [1])}, truth) == (0, [0])
        result = evaluate({"a": found([BOX], [1], [1])}, [record("a", [BOX, FAR], [0, 1])])
        assert result.ap.tolist() == [0, 0]

    def test_equal_scores_keep_the_order_of_the_detections(self):
        truth = [record("a", [BOX]), record("b", [])]
        right, wrong = {"a": found([BOX], [1])}, {"b": found([BOX], [1])}
        assert verdicts(right | wrong, truth)[1] == [1, 0]
        assert verdicts(wrong | right, truth)[1] == [0, 1]

    def test_equal_scores_of_interleaved_images_keep_the_order_of_the_table(self):
        truth = [record("a", [BOX]), record("b", [FAR])]
        table = DetectionTable(("a", "b"), np.array([0, 1, 0]), found([BOX, BOX, FAR], [1, 1, 1]))
        assert verdicts(table, truth)[1] == [1, 0, 0]
        table = DetectionTable(("a", "b"), np.array([0, 1, 0]), found([BOX, FAR, FAR], [1, 1, 1]))
        assert verdicts(table, truth)[1] == [1, 1, 0]
        assert verdicts(dict(table), truth)[1] == [1, 0, 1]  # one image after the other


class TestEvaluate:
    def test_images_without_detections_lower_the_recall_only(self):
        truth = [record("a", [BOX]), record("b", [BOX])]
        assert verdicts({"a": found([BOX], [1])}, truth, metric="area") == (0.5, [1])
        assert verdicts({"a": found([BOX], [1]), "b": Detections.empty()}, truth, metric="area") == (0.5, [1])

    def test_without_detections_the_ap_is_zero(self):
        result = evaluate({}, [record("a", [BOX])])
        assert result.ap.tolist() == [0]
        assert [len(result.precision[0]), len(result.recall[0]), len(result.scores[0])] == [0, 0, 0]

    def test_a_class_without_objects_is_nan_and_left_out_of_the_mean(self):
        truth = [record("a", [BOX, FAR], [0, 2], [False, True])]
        detections = {"a": found([BOX, BOX, FAR], [1, 1, 1], [0, 1, 2])}
        result = evaluate(detections, Dataset("d", ("x", "y", "z"), tuple(truth)))
        np.testing.assert_array_equal(result.ap, [1, np.nan, np.nan])
        np.testing.assert_array_equal(result.recall[1], [np.nan])
        assert result.mean_ap == 1
        assert result.n_objects.tolist() == [1, 0, 0]
        assert result.classes == ("x", "y", "z")

    def test_without_objects_the_mean_is_nan(self):
        assert np.isnan(evaluate({}, [record("a", [])], classes=["x"]).mean_ap)
        assert np.isnan(evaluate({}, []).mean_ap)

    def test_curves_and_scores_have_the_same_order(self):
        truth = [record("a", [BOX, FAR], difficult=[True, False])]
        result = evaluate({"a": found([FAR, BOX, (0, 0, 3, 3)], [0.5, 2, 1])}, truth)
        assert result.scores[0].tolist() == [1, 0.5]  # without the one on the difficult object
        assert result.precision[0].tolist() == [0, 0.5]
        assert result.recall[0].tolist() == [0, 1]

    @pytest.mark.parametrize(
        ("detections", "match"),
        [
            ({"b": found([BOX], [1])}, "1 images are not in the ground truth, the first is 'b'"),
            ({"b": Detections.empty()}, "'b'"),
            ({"a": found([BOX], [1], [1])}, r"label 1 is outside 0\.\.0"),
            ({"a": found([BOX], [1], [-1])}, "label -1"),
        ],
    )
    def test_detections_that_do_not_belong_to_the_records_are_refused(self, detections, match):
        with pytest.raises(ValueError, match=match):
            evaluate(detections, [record("a", [BOX])], classes=["thing"])

    def test_ground_truth_labels_outside_the_classes_are_refused(self):
        with pytest.raises(ValueError, match="ground truth: label 3"):
            evaluate({}, [record("a", [BOX], [3])], classes=["thing"])

    def test_repeated_records_are_refused(self):
        with pytest.raises(ValueError, match="pass each image once"):
            evaluate({}, [record("a", [BOX])] * 2)

    @pytest.mark.parametrize("threshold", [0, 1.5, float("nan")])
    def test_thresholds_outside_the_unit_interval_are_refused(self, threshold):
        with pytest.raises(ValueError, match="iou_threshold"):
            evaluate({}, [], iou_threshold=threshold)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("iou_threshold", [0.3, 0.5, 0.7])
def test_random_sets_agree_with_the_literal_reference(seed, iou_threshold):
    rng = np.random.default_rng(seed)

    def boxes(n):
        corner = rng.integers(0, 60, (n, 2))
        return np.concatenate([corner, corner + rng.integers(0, 50, (n, 2))], axis=1)

    truth, detections = [], {}
    for i in range(30):
        n, m = rng.integers(0, 6), rng.integers(0, 40)
        objects = boxes(n)
        truth.append(record(f"{i}", objects, rng.integers(0, 3, n), rng.random(n) < 0.3))
        some = boxes(m)
        if n:
            close = rng.integers(0, n, m // 2)
            some[: m // 2] = objects[close] + rng.integers(-3, 4, (m // 2, 4))
            some[:, 2:] = np.maximum(some[:, 2:], some[:, :2])
        detections[f"{i}"] = found(some, rng.integers(0, 9, m).astype(np.float32), rng.integers(0, 4, m))  # many ties
    expected = voc_eval.evaluate(detections, truth, 4, iou_threshold)
    for metric, column in (("voc07", 2), ("area", 3)):
        result = evaluate(detections, truth, iou_threshold, metric, ["a", "b", "c", "d"])
        for k, twin in enumerate(expected):
            if twin[2] is None:
                assert np.isnan(result.ap[k])
                continue
            np.testing.assert_array_equal(result.recall[k], twin[0])
            np.testing.assert_array_equal(result.precision[k], twin[1])
            assert result.ap[k] == pytest.approx(twin[column], abs=1e-12)


def test_detections_equal_to_the_objects_score_one_on_voc_2007(shared):
    from data import voc

    dataset = voc.load(shared / "voc2007" / "VOCdevkit2007", "2007", "mini_test")
    perfect = {r.id: found(r.boxes, np.ones(len(r.labels)), r.labels) for r in dataset}
    result = evaluate(perfect, dataset)
    assert result.mean_ap == 1
    assert result.n_objects.sum() == sum((~r.difficult).sum() for r in dataset)
    assert all(len(s) == n for s, n in zip(result.scores, result.n_objects, strict=True))
