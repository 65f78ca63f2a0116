"""Boxes in percent and in pixels, whole or rotated, and what is left out."""

import numpy as np
import pytest

from detection.calibration import Calibration
from detection.detections import Detections
from sppnet.labelling.label_config import LabelConfig
from sppnet.labelling.regions import read_regions, write_regions
from tests.sppnet.labelling.helpers import region

CONFIG = LabelConfig("label", "image", "image", ("cat", "dog"))
SIZE = (200, 400)  # (H, W)


def detections(boxes, scores, labels, calibration=None):
    return Detections(np.float32(boxes), np.float32(scores), np.array(labels), CONFIG.labels, calibration=calibration)


def test_a_box_keeps_its_pixels():
    found = read_regions([region((20, 30, 59, 79), "dog", SIZE)], CONFIG, SIZE)
    assert (found.boxes, found.labels, found.left_out) == (((20, 30, 59, 79),), ("dog",), {})


def test_what_is_written_is_what_is_read():
    boxes = [[0, 0, 399, 199], [12.5, 3.25, 100, 50]]
    written = write_regions(detections(boxes, [1, 0], [0, 1]), CONFIG, SIZE)
    found = read_regions(written, CONFIG, SIZE)
    np.testing.assert_allclose(found.boxes, boxes, atol=0.01)
    assert found.labels == ("cat", "dog")


def test_a_rotated_rectangle_becomes_its_bounding_box():
    """By 90 degrees around its first corner, a rectangle of 60 x 20 pixels lies to the left of it."""
    turned = region((100, 50, 159, 69), "cat", SIZE, rotation=90)
    assert read_regions([turned], CONFIG, SIZE).boxes == ((80, 50, 99, 109),)
    diagonal = region((100, 100, 109, 109), "cat", SIZE, rotation=45)
    np.testing.assert_allclose(
        read_regions([diagonal], CONFIG, SIZE).boxes, [[100 - 50**0.5, 100, 99 + 50**0.5, 99 + 200**0.5]], atol=0.01
    )


def test_boxes_are_clipped_to_the_photo():
    outside = region((-40, 150, 39, 249), "cat", SIZE)
    assert read_regions([outside], CONFIG, SIZE).boxes == ((0, 150, 39, 199),)


def test_what_cannot_be_learned_is_counted():
    regions = [
        region((0, 0, 9, 9), "fish", SIZE),
        region((0, 0, 9, 9), "fish", SIZE),
        region((500, 0, 509, 9), "cat", SIZE),
        region((5, 5, 5.2, 9), "cat", SIZE),
        region((0, 0, 9, 9), "cat", SIZE, x=float("nan")),
        region((0, 0, 9, 9), "cat", SIZE, width="wide"),
        region((0, 0, 9, 9), "cat", SIZE, width=10**400),
        region((0, 0, 9, 9), "cat", SIZE, rectanglelabels=[]),
        {"type": "rectanglelabels", "from_name": "label"},
        region((0, 0, 9, 9), "cat", SIZE) | {"image_rotation": 90},
        region((10, 10, 19, 19), "cat", SIZE),
    ]
    found = read_regions(regions, CONFIG, SIZE)
    assert found.boxes == ((10, 10, 19, 19),)
    assert found.left_out == {
        "label 'fish' not in the configuration": 2,
        "without area in the photo": 2,
        "damaged": 5,
        "without a label": 1,
    }


@pytest.mark.parametrize("value", ["text", None, 5, [], True, {"rectanglelabels": "cat"}, {"rectanglelabels": [1]}])
def test_a_value_of_another_kind_is_a_damaged_region_beside_right_ones(value):
    right = region((20, 30, 59, 79), "dog", SIZE)
    found = read_regions([right | {"value": value}, right], CONFIG, SIZE)
    assert (found.boxes, found.left_out) == (((20, 30, 59, 79),), {"damaged": 1})


def test_regions_of_other_tags_are_none_of_ours():
    others = [
        {"type": "choices", "from_name": "kind", "value": {"choices": ["day"]}},
        region((0, 0, 9, 9), "cat", SIZE) | {"from_name": "other"},
        "text",
        None,
    ]
    found = read_regions(others, CONFIG, SIZE)
    assert (found.boxes, found.left_out) == ((), {})
    assert read_regions(None, CONFIG, SIZE).boxes == ()


def test_a_region_with_two_labels_is_two_objects():
    both = region((0, 0, 9, 9), "cat", SIZE, rectanglelabels=["cat", "dog"])
    assert read_regions([both], CONFIG, SIZE).labels == ("cat", "dog")


def test_scores_are_probabilities_or_squashed_margins_best_first():
    boxes = [[0, 0, 9, 9], [20, 20, 29, 29]]
    plain = write_regions(detections(boxes, [-0.5, 0.5], [0, 0]), CONFIG, SIZE)
    assert [r["score"] for r in plain] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))], abs=1e-4)
    assert plain[0]["value"]["x"] == 5
    calibration = Calibration((1.0, 1.0), (0.0, 3.0), (0.5, 0.5))
    stated = write_regions(detections(boxes, [0.5, 0.0], [0, 1], calibration), CONFIG, SIZE)
    assert [r["value"]["rectanglelabels"] for r in stated] == [["dog"], ["cat"]]
    assert stated[0]["score"] == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-4)


def test_labels_that_the_configuration_lacks_are_not_shown():
    fewer = LabelConfig("label", "image", "image", ("dog",))
    shown = write_regions(detections([[0, 0, 9, 9]] * 2, [1, 0], [0, 1]), fewer, SIZE)
    assert [r["value"]["rectanglelabels"] for r in shown] == [["dog"]]
