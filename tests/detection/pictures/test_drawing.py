import itertools
from pathlib import Path

import numpy as np
import pytest

from data.records import ImageRecord
from detection.detections import Detections
from detection.pictures.drawing import BLACK, PALETTE, WHITE, draw, draw_comparison, draw_detections

GREY = np.full((120, 160, 3), 128, np.uint8)
BOX = [30, 40, 120, 100]


def colors_of(pixels):
    return set(map(tuple, pixels.reshape(-1, 3).tolist()))


def count(pixels, color):
    return int((pixels == color).all(axis=-1).sum())


def record(boxes, labels, difficult=None):
    n = len(boxes)
    return ImageRecord(
        "a",
        Path("a.jpg"),
        (120, 160),
        np.array(boxes, np.float32).reshape(n, 4),
        np.array(labels, np.int64),
        np.array([False] * n if difficult is None else difficult),
    )


def test_the_input_image_is_not_changed():
    image = GREY.copy()
    drawn = draw(image, [BOX], ["cat"])
    np.testing.assert_array_equal(image, GREY)
    assert (drawn.shape, drawn.dtype) == (GREY.shape, np.uint8)
    assert (drawn != GREY).any()


def test_without_boxes_the_pixels_do_not_change():
    np.testing.assert_array_equal(draw(GREY, []), GREY)
    np.testing.assert_array_equal(draw_detections(GREY, Detections.empty(), []), GREY)


def test_frames_are_on_the_inclusive_corners():
    drawn = draw(GREY, [BOX])
    x1, y1, x2, y2 = BOX
    for y, x in ((y1, x1), (y1, x2), (y2, x1), (y2, x2), (y1, 70), (70, x2)):
        assert tuple(drawn[y, x]) == PALETTE[0]
    for y, x in ((y1 - 2, 70), (y2 + 2, 70), (70, x1 - 2), (70, x2 + 2), (70, 70)):
        assert tuple(drawn[y, x]) == (128, 128, 128)


@pytest.mark.parametrize("color", PALETTE)
def test_a_frame_is_visible_on_a_background_of_its_own_colour(color):
    image = np.full((120, 160, 3), color, np.uint8)
    drawn = draw(image, [BOX], colors=[color])
    assert (drawn != image).any(axis=-1).sum() > 200


@pytest.mark.parametrize("color", [*PALETTE, WHITE, BLACK])
def test_labels_have_strong_contrast_to_their_plate(color):
    def luminance(c):
        linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in np.array(c) / 255]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    drawn = draw(GREY, [BOX], ["WWWWWW"], colors=[color])
    ink = BLACK if count(drawn, BLACK) > count(drawn, WHITE) and color != BLACK else WHITE
    if color == WHITE:
        ink = BLACK
    low, high = sorted([luminance(color), luminance(ink)])
    assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG AA
    assert count(drawn[:40], color) > 100  # a filled plate above the box


def test_labels_stay_inside_the_picture():
    for box in ([0, 0, 20, 20], [150, 0, 159, 5], [0, 0, 159, 119], [140, 100, 159, 119]):
        plain, labelled = draw(GREY, [box]), draw(GREY, [box], ["motorbike"])
        area = (plain != labelled).any(axis=-1)
        rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
        assert rows[-1] - rows[0] >= 10
        assert columns[-1] - columns[0] >= 40


def test_labels_of_coinciding_boxes_do_not_cover_each_other():
    one = count(draw(GREY, [BOX], ["cat"], colors=[PALETTE[1]]), PALETTE[1])
    both = draw(GREY, [BOX, BOX], ["cat", "dog"], [2, 1], [PALETTE[1], PALETTE[5]])
    assert count(both, PALETTE[1]) == pytest.approx(one, rel=0.25)  # the best one, with its score
    assert count(both, PALETTE[5]) > 100  # its frame is hidden, its label is not


def test_the_best_score_is_drawn_on_top():
    for scores, top in (([1, 2], 1), ([2, 1], 0)):
        drawn = draw(GREY, [BOX, BOX], scores=scores, colors=[PALETTE[0], PALETTE[1]])
        assert tuple(drawn[100, 70]) == PALETTE[top]


def test_grey_and_tiny_images_work():
    assert draw(GREY[..., 0], [BOX], ["cat"]).shape == GREY.shape
    assert draw(np.zeros((1, 1, 3), np.uint8), [[0, 0, 0, 0]], ["cat"], [1.0]).shape == (1, 1, 3)


def test_boxes_outside_the_image_and_swapped_corners_do_not_crash():
    drawn = draw(GREY, [[-50, -50, 500, 500], [80, 80, 20, 20], [1000, 1000, 1010, 1010]], ["a", "b", "c"])
    assert drawn.shape == GREY.shape


@pytest.mark.parametrize(
    ("options", "match"),
    [({"texts": ["a", "b"]}, "texts: expected 1"), ({"scores": []}, "scores"), ({"colors": []}, "colors")],
)
def test_lists_of_another_length_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        draw(GREY, [BOX], **options)


def test_float_images_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        draw(GREY / 255, [BOX])


def test_detections_below_the_minimum_score_are_not_drawn():
    detections = Detections(np.array([BOX], np.float32), np.array([0.5], np.float32), np.array([1]))
    np.testing.assert_array_equal(draw_detections(GREY, detections, ["cat", "dog"], 0.6), GREY)
    assert PALETTE[1] in colors_of(draw_detections(GREY, detections, ["cat", "dog"], 0.5))


def test_ground_truth_is_dashed_in_black_and_white():
    drawn = draw_comparison(GREY, Detections.empty(), record([BOX], [0]), ["cat"])
    assert not colors_of(drawn) & set(PALETTE)
    edge = [tuple(p) for p in drawn[BOX[1], BOX[0] : BOX[2] + 1].tolist()]
    assert set(edge) == {BLACK, WHITE}
    assert sum(a != b for a, b in itertools.pairwise(edge)) > 10


def test_difficult_objects_are_marked():
    easy, hard = (draw_comparison(GREY, Detections.empty(), record([BOX], [0], [d]), ["cat"]) for d in (False, True))
    assert (easy != hard).any()


def test_a_comparison_shows_detections_and_ground_truth():
    detections = Detections(np.array([[60, 50, 150, 110]], np.float32), np.array([1.0]), np.array([0]))
    drawn = draw_comparison(GREY, detections, record([BOX], [0]), ["cat"])
    assert {PALETTE[0], BLACK, WHITE} <= colors_of(drawn)
    hidden = draw_comparison(GREY, detections, record([BOX], [0]), ["cat"], min_score=2)
    assert PALETTE[0] not in colors_of(hidden)
