import io
import itertools

import cv2
import numpy as np
import pytest
from PIL import Image

from detection.pictures.contact_sheet import tile
from proposals.colour import planes
from proposals.grouping import group, merge_tree
from proposals.pictures import Level, level_sheet, merge_levels, paint, recall_plot
from proposals.recall import RecallResult
from proposals.regions import describe, pixel_bins
from proposals.segmentation import build_graph, segment


def photo(height=90, width=120, seed=0):
    """Draw noisy blocks and a disc."""
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((height // 6, width // 8, 1), int))
    image = (image + rng.integers(-12, 13, image.shape)).clip(0, 255).astype(np.uint8)
    cv2.circle(image, (width // 2, height // 2), height // 4, (220, 40, 30), -1)
    return image


def regions(image, k=50, min_size=10):
    channels = planes(image, "hsv")
    return describe(segment(build_graph(channels), k, min_size), pixel_bins(channels))


@pytest.mark.parametrize("measures", ["CTSF", "TSF", "S"])
def test_the_tree_has_the_boxes_of_the_hierarchy(measures):
    start = regions(photo())
    boxes, parent = group(start, measures), merge_tree(start, measures)
    n = len(start.sizes)
    assert len(parent) == len(boxes) == 2 * n - 1
    assert parent[-1] == 2 * n - 2
    np.testing.assert_array_equal(np.bincount(parent[:-1], minlength=2 * n - 1), [0] * n + [2] * (n - 1))
    for region in range(n, 2 * n - 1):
        a, b = boxes[np.flatnonzero(parent[: 2 * n - 2] == region)]
        merged = [*np.minimum(a[:2], b[:2]), *np.maximum(a[2:], b[2:])]
        np.testing.assert_array_equal(boxes[region], merged)
        assert (np.flatnonzero(parent == region)[:2] < region).all()


def test_the_tree_of_one_region_is_that_region():
    assert merge_tree(regions(np.full((20, 30, 3), 7, np.uint8)), "CTSF").tolist() == [0]


def test_levels_have_the_requested_numbers_of_regions_and_nest():
    levels = merge_levels(photo(), [4, 12, 12, 1, 10**6])
    first = levels[0].regions
    assert [level.regions for level in levels] == [first, 12, 4, 1]
    assert first > 12
    np.testing.assert_array_equal(levels[0].region, np.arange(first))
    for level in levels:  # regions are numbered by their first segments
        first_segments = np.unique(level.region, return_index=True)[1]
        assert (np.diff(first_segments) > 0).all()
    for fine, coarse in itertools.pairwise(levels):
        pairs = set(zip(fine.region.tolist(), coarse.region.tolist(), strict=True))
        assert len(pairs) == fine.regions  # each fine region is part of one coarse region


def test_the_regions_of_a_level_are_connected():
    for level in merge_levels(photo(seed=2), [20, 5]):
        labels = level.region[level.labels]
        for region in range(level.regions):
            assert cv2.connectedComponents((labels == region).astype(np.uint8), connectivity=8)[0] == 2


def test_a_flat_photo_has_one_level():
    levels = merge_levels(np.full((30, 40, 3), 90, np.uint8))
    assert [level.regions for level in levels] == [1]
    assert level_sheet(np.full((30, 40), 90, np.uint8)).ndim == 3


@pytest.fixture
def halves():
    """Two segments on the left, merged to one region, and a larger one on the right."""
    labels = np.zeros((8, 20), np.int32)
    labels[4:, :8], labels[:, 8:] = 1, 2
    return Level(labels, np.array([0, 0, 1], np.int32))


def test_mean_colours_are_computed_per_region(halves):
    image = np.zeros((8, 20, 3), np.uint8)
    image[:4, :8], image[4:, :8], image[:, 8:] = (10, 20, 30), (30, 40, 50), (200, 0, 90)
    picture = paint(image, halves)
    assert picture[0, 0].tolist() == picture[7, 7].tolist() == [20, 30, 40]
    assert picture[3, 15].tolist() == [200, 0, 90]


def test_lines_are_drawn_between_regions_only(halves):
    image = np.zeros((8, 20, 3), np.uint8)
    changed = (paint(image, halves) != 0).any(2)
    np.testing.assert_array_equal(np.unique(np.nonzero(changed)[1]), [8])
    assert changed[:, 8].all()


def test_random_colours_depend_on_the_largest_segment_and_the_seed(halves):
    image = np.zeros((8, 20, 3), np.uint8)
    whole = Level(halves.labels, np.zeros(3, np.int32))
    fine, coarse = paint(image, halves, "random"), paint(image, whole, "random")
    assert fine[0, 19].tolist() == coarse[0, 19].tolist() == coarse[0, 0].tolist()
    assert fine[0, 0].tolist() != fine[0, 19].tolist()
    assert paint(image, halves, "random", seed=1)[0, 0].tolist() != fine[0, 0].tolist()


def test_tiles_are_arranged_row_by_row_under_their_captions():
    colors = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    tiles = [np.full((60, 80, 3), color, np.uint8) for color in colors]
    sheet = tile(tiles, ["a", "b", "c"], columns=2)
    for color, (row, column) in zip(colors, ((0, 0), (0, 1), (1, 0)), strict=True):
        y, x = np.nonzero((sheet == color).all(2))
        assert len(y) == 60 * 80
        assert (y.min() > sheet.shape[0] // 2, x.min() > sheet.shape[1] // 2) == (row, column)
        above = sheet[y.min() - 12 : y.min() - 1, x.min() : x.min() + 20]
        assert above.min() < 100  # ink
    assert tile(tiles, ["a", "b", "c"], columns=9).shape[0] < sheet.shape[0]


def test_a_sheet_has_the_photo_and_one_tile_per_level():
    image = photo()
    sheet = level_sheet(image, [5], columns=1)
    rows = [y for y in range(len(sheet)) if (sheet[y, 6:126] == image[0]).all()]
    assert len(rows) == 1
    assert len(sheet) == 3 * (90 + 6 + 18) + 6  # three tiles, each with a gap and a caption, and a last gap
    np.testing.assert_array_equal(sheet[rows[0] : rows[0] + 90, 6:126], image)


def test_wrong_arguments_are_named(halves):
    image = np.zeros((8, 20, 3), np.uint8)
    for call, words in (
        (lambda: merge_levels(photo(), [0]), "counts: expected 1 or more regions, got 0"),
        (lambda: merge_levels(photo(), space="cmyk"), "space: expected one of"),
        (lambda: paint(image, halves, "plaid"), "fill: expected one of mean, random, got 'plaid'"),
        (lambda: paint(image[:4], halves), "level: expected the size of the image"),
        (lambda: tile([image], ["a", "b"]), "tile: expected one caption per picture, got 1 and 2"),
        (lambda: tile([image], ["a"], 0), "columns=0"),
        (lambda: recall_plot({}, "gif"), "kind: expected one of png, svg, pdf, got 'gif'"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def result(overlaps, boxes):
    return RecallResult(np.array(overlaps), np.zeros(len(overlaps), np.int64), 1, boxes, 1)


def test_the_plot_has_one_line_per_source_in_each_panel(monkeypatch):
    from matplotlib import figure

    made = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *_, **__: made.append(self))
    a = [result([0.5, 0.1], 1), result([0.5, 0.9], 10)]
    recall_plot({"a": a, "none": [result([0.2], 0)], "b": a[:1]})
    left, right = made[0].axes
    curves = left.get_lines()
    assert len(curves) == 3
    assert (curves[0].get_ydata()[0], curves[0].get_ydata()[-1]) == (1, 0)
    assert right.get_lines()[0].get_xdata().tolist() == [1, 10]
    np.testing.assert_allclose(right.get_lines()[0].get_ydata(), [0, 0.4])
    texts = [text.get_text() for text in made[0].legends[0].get_texts()]
    assert texts[0] == "a: AR 0.400, 10 boxes"
    assert len({line.get_color() for line in curves}) == 3


def test_plots_have_the_requested_file_format():
    picture = Image.open(io.BytesIO(recall_plot({"a": [result([0.7], 3)]})))
    assert picture.format == "PNG"
    assert min(picture.size) > 500
    assert b"<svg" in recall_plot({"a": [result([], 0)]}, "svg")
