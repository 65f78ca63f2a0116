"""Which objects are too small for the windows of a search."""

import numpy as np
import pytest

from detection.boxes import iou
from proposals.reach import reachable
from proposals.sources import ProposalSettings, propose


def square(side):
    return [5, 5, 4 + side, 4 + side]


@pytest.mark.parametrize(
    ("box", "expected"),
    [(square(20), True), (square(15), True), (square(14), False), ([0, 0, 10, 39], True), ([0, 0, 9, 39], False)],
)
def test_objects_that_fill_more_than_half_of_the_smallest_window_are_reached(box, expected):
    assert reachable([box], (200, 300), ProposalSettings()).tolist() == [expected]


@pytest.mark.parametrize(
    ("source", "image_size", "max_side", "smallest"),
    [
        ("ss", (300, 400), 1000, 8),  # regions of 50 pixels
        ("ss-single", (300, 400), 1000, 10),  # of 100 pixels
        ("ss", (3000, 4000), 1000, 29),  # of 50 pixels of the downsized photo, each of 16 pixels
        ("ss", (3000, 4000), 4000, 8),
        ("edgeboxes", (300, 400), 1000, 18),
        ("ss+edgeboxes", (300, 400), 1000, 8),
    ],
)
def test_searches_have_a_smallest_area_too(source, image_size, max_side, smallest):
    settings = ProposalSettings(source, min_side=1, max_side=max_side)
    sides = range(5, 40)
    found = reachable([square(side) for side in sides], image_size, settings)
    assert [side for side, reached in zip(sides, found, strict=True) if reached] == list(range(smallest, 40))


def test_no_objects_give_no_answers():
    assert reachable([], (200, 300), ProposalSettings()).shape == (0,)


@pytest.mark.parametrize("source", ["ss", "edgeboxes"])
@pytest.mark.parametrize("min_side", [20, 4])
def test_the_search_itself_agrees(source, min_side):
    rng = np.random.default_rng(0)
    image = np.full((120, 400, 3), 200, np.uint8)
    boxes = []
    for i, side in enumerate((5, 6, 7, 9, 12, 16, 22, 28)):
        x, y = 10 + 48 * i, int(rng.integers(10, 80))
        image[y : y + side, x : x + side] = rng.integers(0, 100, 3)
        boxes.append([x, y, x + side - 1, y + side - 1])
    settings = ProposalSettings(source, min_side=min_side)
    best = iou(boxes, propose(image, settings)).max(1)
    assert (best > 0.5).tolist() == reachable(boxes, image.shape[:2], settings).tolist()
