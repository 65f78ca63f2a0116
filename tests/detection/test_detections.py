import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from detection.calibration import Calibration
from detection.detections import Detections


def make(scores, labels=None):
    n = len(scores)
    boxes = np.arange(4 * n, dtype=np.float32).reshape(n, 4)
    return Detections(boxes, np.array(scores, np.float32), np.array(labels if labels is not None else [0] * n))


class TestDetections:
    def test_arrays_are_converted_to_float32_and_int64(self):
        d = Detections([[1, 2, 3, 4]], [1], np.array([2], np.int32))
        assert (d.boxes.dtype, d.scores.dtype, d.labels.dtype) == (np.float32, np.float32, np.int64)

    def test_float64_is_kept(self):
        d = Detections(np.zeros((1, 4)), np.array([1 + 1e-12]), np.array([0]))
        assert d.scores[0] > 1

    def test_empty_detections_have_the_usual_shapes(self):
        for d in (Detections.empty(), Detections([], [], []), make([1.0]).filter(2.0), Detections.concatenate([])):
            assert (len(d), d.boxes.shape, d.scores.shape, d.labels.shape) == (0, (0, 4), (0,), (0,))
            assert d.labels.dtype == np.int64

    def test_sorted_is_best_first_and_stable(self):
        d = make([1, 3, 2, 3], [0, 1, 2, 3]).sorted()
        assert d.labels.tolist() == [1, 3, 2, 0]
        assert d.boxes[:, 0].tolist() == [4, 12, 8, 0]

    def test_top_returns_the_best_in_order(self):
        assert make([1, 3, 2]).top(2).scores.tolist() == [3, 2]
        assert len(make([1, 3, 2]).top(9)) == 3
        assert len(make([1]).top(0)) == 0
        with pytest.raises(ValueError, match="at least 0"):
            make([1]).top(-1)

    def test_filter_keeps_a_score_of_exactly_the_minimum(self):
        assert make([0.5, 0.25, 1]).filter(0.5).scores.tolist() == [0.5, 1]

    def test_filter_keeps_the_labels_asked_for(self):
        assert make([1, 2, 3], [0, 1, 2]).filter(labels=[0, 2]).labels.tolist() == [0, 2]
        assert make([1, 2, 3], [0, 1, 2]).filter(2, {2, 0}).labels.tolist() == [2]
        assert len(make([1, 2]).filter(labels=[])) == 0

    def test_concatenate_keeps_the_order(self):
        d = Detections.concatenate([make([1], [5]), Detections.empty(), make([3, 2], [6, 7])])
        assert d.scores.tolist() == [1, 3, 2]
        assert d.labels.tolist() == [5, 6, 7]

    @pytest.mark.parametrize(
        "columns",
        [
            (np.zeros((2, 4)), np.zeros(1), np.zeros(2, int)),
            (np.zeros((2, 4)), np.zeros(2), np.zeros(1, int)),
            (np.zeros((2, 5)), np.zeros(2), np.zeros(2, int)),
            (np.zeros((2, 4)), np.zeros((2, 1)), np.zeros(2, int)),
        ],
    )
    def test_columns_of_other_shapes_are_refused(self, columns):
        with pytest.raises(ValueError, match=r"expected boxes \(N, 4\)"):
            Detections(*columns)

    def test_nan_is_refused(self):
        with pytest.raises(ValueError, match="NaN"):
            make([np.nan])

    def test_fractional_labels_are_refused(self):
        with pytest.raises(ValueError, match="expected integers, got float64"):
            make([1.0], np.array([0.5]))


CLASSES = ("cat", "dog")


def some(photo=None):
    boxes = np.array([[0, 0, 9, 9], [2, 3, 20, 12], [5, 5, 5, 5]], np.float32)
    return Detections(boxes, np.float32([0.25, 1.5, -0.5]), np.array([0, 1, 0]), CLASSES, photo)


def test_classes_are_selected_by_name_or_label():
    assert some().names == ["cat", "dog", "cat"]
    assert some().filter(labels="cat").scores.tolist() == [0.25, -0.5]
    assert some().filter(0, ["cat", 1]).names == ["cat", "dog"]
    assert Detections(some().boxes, some().scores, some().labels).names == ["0", "1", "0"]
    with pytest.raises(ValueError, match=r"expected one of cat, dog, got 'cow'"):
        some().filter(labels=["cow"])
    with pytest.raises(ValueError, match=r"expected 0\.\.0 for 1 classes, got 0\.\.1"):
        Detections(some().boxes, some().scores, some().labels, ("cat",))


def test_repr_lists_the_best_detections_only():
    lines = repr(some()).splitlines()
    assert lines[0] == "3 detections"
    assert lines[1].split() == ["dog", "1.50", "(2,", "3)", "to", "(20,", "12)"]
    many = Detections.concatenate([some()] * 20)
    assert len(repr(many).splitlines()) == 22
    assert repr(Detections.empty()) == "0 detections"


def test_other_formats_have_the_same_boxes():
    pytest.importorskip("pandas")
    found = some()
    assert found.records()[0] == {"class": "dog", "label": 1, "score": 1.5, "box": [2, 3, 20, 12]}
    with pytest.raises(ValueError, match="expected 0 or more, got -1"):
        Detections(found.boxes, found.scores, found.labels - 1).to_coco(7)
    assert found.to_coco(7)[1] == {"image_id": 7, "category_id": 2, "bbox": [2, 3, 19, 10], "score": 1.5}
    frame = found.to_pandas()
    assert frame.columns.tolist() == ["class", "label", "score", "probability", "x0", "y0", "x1", "y1"]
    assert frame.drop(columns="probability").iloc[0].tolist() == ["dog", 1, 1.5, 2, 3, 20, 12]
    assert frame["probability"].isna().all()
    theirs = found.to_torchvision()
    assert theirs["boxes"].tolist()[1] == [2, 3, 21, 13]
    assert theirs["labels"].tolist() == [1, 2, 1]
    assert all(len(found[:0].to_torchvision()[key]) == 0 for key in theirs)


def test_supervision_accepts_the_converted_detections():
    pytest.importorskip("supervision")
    theirs = some().to_supervision()
    assert theirs.xyxy.tolist()[2] == [5, 5, 6, 6]
    assert theirs.class_id.tolist() == [0, 1, 0]
    assert theirs.data["class_name"].tolist() == ["cat", "dog", "cat"]
    assert len(some()[:0].to_supervision()) == 0


def test_detections_are_drawn_on_their_photo(tmp_path):
    photo = np.full((60, 80, 3), 200, np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    of_array, of_file = some(photo).draw(), some(tmp_path / "photo.png").draw()
    assert (of_array != photo).any()
    np.testing.assert_array_equal(of_array, of_file)
    np.testing.assert_array_equal(some().draw(image=photo), of_array)
    assert (some(photo).draw(min_score=9) == photo).all()
    with pytest.raises(ValueError, match="these detections have no photo; pass image"):
        some().draw()
    assert some()._repr_png_() is None
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(some(photo)._repr_png_()))), of_array)


def test_loops_and_numbers_give_single_detections():
    found = some()
    assert [(d.names, d.scores.tolist(), d.boxes.tolist(), len(d)) for d in found] == [
        (["cat"], [0.25], [[0, 0, 9, 9]], 1),
        (["dog"], [1.5], [[2, 3, 20, 12]], 1),
        (["cat"], [-0.5], [[5, 5, 5, 5]], 1),
    ]
    for row in (1, np.int64(1), -2):
        assert found[row].scores.tolist() == [1.5]
    for row in (3, -4):
        with pytest.raises(IndexError, match=f"row {row}: there are 3 detections"):
            found[row]
    np.testing.assert_array_equal(Detections.concatenate(found).boxes, found.boxes)
    assert found[[0, 2]].names == found[np.array([True, False, True])].names == ["cat", "cat"]


def test_no_detection_is_false_and_an_empty_loop():
    assert list(Detections.empty()) == []
    assert not some()[:0]
    assert some()[:1]


CALIBRATION = Calibration((2.0, 4.0), (0.5, -5.2), (0.4, 0.3))


def calibrated(**more):
    return replace(some(**more), calibration=CALIBRATION)


def test_probabilities_order_detections_of_different_classes():
    found = calibrated()  # cat 0.25, dog 1.5, cat -0.5
    np.testing.assert_allclose(found.probabilities, 1 / (1 + np.exp([-1.0, -0.8, 0.5])), rtol=1e-6)
    assert found.sorted().names == ["cat", "dog", "cat"]  # the dog has the higher margin
    assert some().probabilities is None
    assert some().sorted().names == ["dog", "cat", "cat"]


def test_equal_probabilities_are_ordered_by_margin():
    sure = Detections(np.zeros((2, 4)), [30.0, 31.0], [0, 0], calibration=CALIBRATION)
    assert sure.probabilities.tolist() == [1, 1]
    assert sure.sorted().scores.tolist() == [31, 30]


def test_detections_are_shown_from_the_threshold_of_their_class_on():
    assert calibrated().shown().scores.tolist() == [0.25, 1.5]  # the last has a probability of 0.38
    assert calibrated().shown(0.37).scores.tolist() == [0.25, 1.5, -0.5]
    assert len(calibrated().shown(0.9)) == 0
    assert some().filter(0).shown().scores.tolist() == [0.25, 1.5]
    assert make([-0.6, -0.5]).shown().scores.tolist() == [-0.5]
    with pytest.raises(ValueError, match="this detector states no probabilities; train it again, or select by score"):
        some().shown(0.5)


def test_pictures_text_and_other_formats_have_probabilities():
    photo = np.full((60, 80, 3), 200, np.uint8)
    found = calibrated(photo=photo)
    assert found.records()[1] == {
        "class": "dog", "label": 1, "score": 1.5, "probability": pytest.approx(0.690, abs=1e-3), "box": [2, 3, 20, 12]
    }  # fmt: skip
    lines = repr(found).splitlines()
    assert lines[0] == "2 detections; 1 more are unlikely"
    assert lines[1].split()[:3] == ["cat", "73", "%"]
    np.testing.assert_array_equal(found.draw(), found[:2].draw(-9))
    assert (found.draw(-9) != found.draw()).any()
    assert (found.draw() != some(photo).draw()).any()  # other numbers
    np.testing.assert_allclose(found.to_torchvision()["scores"], found.probabilities)
    assert found.to_coco(1)[0]["score"] == 0.25  # margins, whose order within a class is exact


def test_a_missing_library_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="this needs pandas; run: pip install pandas"):
        some().to_pandas()
