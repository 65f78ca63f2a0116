from pathlib import Path

import numpy as np
import pytest

from detection import boxes


def literal_nms(candidates, scores, threshold):
    """Suppress boxes pair by pair."""
    order = sorted(range(len(scores)), key=lambda i: (scores[i], i), reverse=True)
    kept = []
    for i in order:
        if all(boxes.iou(candidates[i : i + 1], candidates[j : j + 1])[0, 0] <= threshold for j in kept):
            kept.append(i)
    return kept


def test_iou_counts_inclusive_pixels():
    overlaps = boxes.iou([[0, 0, 9, 9]], [[0, 0, 9, 9], [5, 0, 14, 9], [9, 9, 9, 9], [10, 0, 12, 9]])
    np.testing.assert_allclose(overlaps, [[1, 50 / 150, 1 / 100, 0]])


def test_iou_of_no_boxes_is_empty():
    assert boxes.iou([], [[0, 0, 1, 1]]).shape == (0, 1)


def test_area_of_one_pixel_is_one():
    np.testing.assert_array_equal(boxes.area([[3, 4, 3, 4], [0, 0, 1, 2]]), [1, 6])


def test_clip_moves_corners_inside():
    np.testing.assert_array_equal(boxes.clip([[-5, -1, 30, 12]], (10, 20)), [[0, 0, 19, 9]])


def test_xywh_widths_count_both_corners():
    assert boxes.to_xywh([[2, 3, 2, 7]]).tolist() == [[2, 3, 1, 5]]
    assert boxes.to_xywh([]).shape == (0, 4)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_nms_agrees_with_its_literal_reference(threshold):
    rng = np.random.default_rng(0)
    candidates = np.sort(rng.integers(0, 40, (80, 2, 2)), axis=1).reshape(-1, 4).astype(np.float32)
    scores = rng.integers(0, 10, 80) / 10  # with ties
    assert boxes.nms(candidates, scores, threshold).tolist() == literal_nms(candidates, scores, threshold)


def test_nms_keeps_a_box_whose_iou_equals_the_threshold():
    pair = [[0, 0, 9, 9], [0, 0, 9, 4]]  # IoU 0.5
    assert boxes.nms(pair, [2, 1], 0.5).tolist() == [0, 1]
    assert boxes.nms(pair, [2, 1], 0.49).tolist() == [0]


def test_nms_prefers_the_larger_index_at_equal_scores():
    assert boxes.nms([[0, 0, 9, 9], [0, 0, 9, 9]], [1, 1], 0.5).tolist() == [1]


def test_nms_of_no_boxes_is_empty():
    assert boxes.nms(np.zeros((0, 4)), [], 0.3).tolist() == []


@pytest.mark.parametrize("most", [0, 1, 3, 1000])
def test_nms_stops_after_the_given_number_of_boxes(most):
    rng = np.random.default_rng(5)
    corner = rng.uniform(0, 60, (300, 2))
    candidates, scores = np.hstack([corner, corner + rng.uniform(5, 40, (300, 2))]), rng.random(300)
    everything = boxes.nms(candidates, scores, 0.3)
    assert len(everything) > 3
    assert boxes.nms(candidates, scores, 0.3, most).tolist() == everything[:most].tolist()


def many(kind, n, seed=0):
    """More boxes than are compared pair by pair."""
    rng = np.random.default_rng(seed)
    size = np.exp(rng.uniform(0, 5, (n, 2)))
    corner = rng.uniform(-50, 500, (n, 2))
    found = np.hstack([corner, corner + size - 1])
    if kind == "whole":
        found = found.round()
    elif kind == "a column":
        found[:, [0, 2]] = found[:1, [0, 2]]
    elif kind == "a row":
        found[:, [1, 3]] = found[:1, [1, 3]]
    elif kind == "alike":
        found = found[rng.integers(0, 40, n)] + rng.normal(0, 2, (n, 4))
    elif kind == "equal":
        found = found[rng.integers(0, 40, n)]
    elif kind == "swapped":
        found[::3] = found[::3, [2, 3, 0, 1]]
    elif kind == "far":
        found += 1e9
    elif kind == "huge":
        found[::5, 2:] += 1e12
    elif kind == "points":
        found[:, 2:] = found[:, :2]
    return found


@pytest.mark.parametrize("threshold", [0.1, 0.26, 0.3, 0.5, 0.7, 0.9, 1.0, 1.5])
@pytest.mark.parametrize(
    "kind", ["any", "whole", "a column", "a row", "alike", "equal", "swapped", "far", "huge", "points"]
)
def test_many_boxes_are_suppressed_as_few_are(kind, threshold, monkeypatch):
    candidates = many(kind, 700)
    scores = np.random.default_rng(1).integers(0, 300, 700)
    for dtype in (np.float32, np.float64):
        typed = candidates.astype(dtype)
        expected = [boxes.nms(typed, scores, threshold, most).tolist() for most in (None, 60)]
        with monkeypatch.context() as patch:
            patch.setattr(boxes, "MANY", 10)
            patch.setattr(boxes, "FEW", 10)
            patch.setattr(boxes, "WORTH", 9)
            patch.setattr(boxes, "_suppress", None if threshold > boxes.LOW else boxes._suppress)
            assert [boxes.nms(typed, scores, threshold, most).tolist() for most in (None, 60)] == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_boxes_that_are_not_finite_are_all_compared(bad, monkeypatch):
    candidates = many("any", 300)
    candidates[::7, 1] = bad
    scores = np.arange(300)
    expected = boxes.nms(candidates, scores, 0.5).tolist()
    monkeypatch.setattr(boxes, "MANY", 10)
    monkeypatch.setattr(boxes, "_near", None)
    assert boxes.nms(candidates, scores, 0.5).tolist() == expected


def test_the_time_for_many_boxes_is_not_that_of_all_pairs():
    candidates, scores = many("any", 20_000), np.arange(20_000)
    boxes.nms(candidates[:6000], scores[:6000], 0.9)  # compiles
    by, first, last = boxes._near(candidates, 0.9)
    assert (last - first).sum() < 0.05 * 20_000**2
    assert sorted(by.tolist()) == list(range(20_000))
    few = boxes.nms(candidates, scores, 0.9)
    ordered = np.ascontiguousarray(candidates[::-1])
    assert few.tolist() == (19_999 - np.flatnonzero(boxes._suppress(ordered, 0.9, 20_000))).tolist()


@pytest.mark.parametrize(("key", "threshold"), [("nms_keep_03", 0.3), ("nms_keep_05", 0.5)])
def test_nms_agrees_with_the_authors_program(key, threshold):
    with np.load(Path(__file__).parents[1] / "golden" / "sppnet_matlab_1.npz") as golden:
        candidates = golden["nms_boxes_scores"]
        np.testing.assert_array_equal(boxes.nms(candidates[:, :4], candidates[:, 4], threshold), golden[key])


def test_arrays_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"expected shape \(N, 4\)"):
        boxes.area([[1, 2, 3]])
    with pytest.raises(ValueError, match="scores"):
        boxes.nms([[0, 0, 1, 1]], [1, 2], 0.5)
