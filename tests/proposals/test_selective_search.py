import sys

import cv2
import numpy as np
import pytest

import proposals
from detection.boxes import iou
from proposals import selective_search
from proposals.colour import SPACES, planes
from proposals.grouping import ONE, group
from proposals.regions import TEXTURE_BINS, describe, pixel_bins
from proposals.segmentation import build_graph, segment
from tests.reference import selective_search as literal

module = sys.modules["proposals.hierarchical_search"]


def random_image(height: int, width: int, seed: int) -> np.ndarray:
    """Draw coloured blocks with noise, so that neighbours have all degrees of similarity."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (-(-height // 5), -(-width // 6), 3))
    image = np.kron(blocks, np.ones((5, 6, 1), int))[:height, :width]
    return (image + rng.integers(-20, 21, image.shape)).clip(0, 255).astype(np.uint8)


def photo(height: int = 120, width: int = 160) -> np.ndarray:
    """Draw a smooth background and two discs."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([100 + x // 8, 120 + y // 8, 140 - x // 8], 2).astype(np.uint8)
    cv2.circle(image, (width // 3, height // 2), height // 5, (220, 40, 30), -1)
    cv2.circle(image, (3 * width // 4, height // 3), height // 6, (20, 60, 200), -1)
    return image


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("k", "min_size"), [(5, 1), (50, 8), (300, 20)])
def test_segmentation_equals_the_literal_version(space, k, min_size):
    channels = planes(random_image(17, 23, seed=k), space)
    np.testing.assert_array_equal(segment(build_graph(channels), k, min_size), literal.segment(channels, k, min_size))


def test_no_segment_is_smaller_than_the_minimum():
    channels = planes(random_image(40, 50, seed=1), "lab")
    sizes = np.bincount(segment(build_graph(channels), 10, 30).ravel())
    assert len(sizes) > 3
    assert sizes.min() >= 30


@pytest.mark.parametrize("measures", ["CTSF", "TSF", "C", "T", "S", "F"])
@pytest.mark.parametrize("space", ["hsv", "i"])
def test_hierarchy_equals_the_literal_version(measures, space):
    channels = planes(random_image(20, 24, seed=7), space)
    labels = segment(build_graph(channels), 20, 6)
    assert labels.max() > 8
    boxes = group(describe(labels, pixel_bins(channels)), measures)
    np.testing.assert_array_equal(boxes, literal.group(labels, channels, measures))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.slow
def test_the_whole_search_equals_the_literal_version(seed, monkeypatch):
    mode = module.Mode(("hsv", "lab"), ("CTSF", "TSF"), ((20, 8), (40, 12)))
    monkeypatch.setitem(module.MODES, "fast", mode)
    image = random_image(16, 20, seed=3)
    hierarchies = []
    for space in mode.spaces:
        channels = planes(image, space)
        for k, min_size in mode.scales:
            labels = literal.segment(channels, k, min_size)
            hierarchies += [literal.group(labels, channels, measures) for measures in mode.measures]
    boxes = selective_search(image, min_side=5, seed=seed)
    assert len(boxes) > 10
    np.testing.assert_array_equal(boxes, literal.rank(hierarchies, min_side=5, seed=seed))


def test_regions_of_equal_pixels_have_equal_histograms():
    channels = planes(random_image(20, 24, seed=2), "rgi")
    labels = np.zeros((20, 24), np.int32)
    labels[:, 12:] = 1
    bins = pixel_bins(np.concatenate([channels[:, :, :12], channels[:, :, :12]], 2))
    regions = describe(labels, bins)
    shared = np.minimum(regions.colour[0], regions.colour[1]).sum() / regions.colour[0].sum()
    assert shared == 1
    assert regions.neighbours.tolist() == [[0, 1]]
    assert regions.sizes.tolist() == [240, 240]
    assert regions.boxes.tolist() == [[0, 0, 11, 19], [12, 0, 23, 19]]
    assert ONE == 2**20


def test_texture_of_a_step_is_strongest_in_its_direction():
    step = np.zeros((1, 24, 24), np.uint8)
    step[:, :, 12:] = 255
    texture = pixel_bins(step).texture
    along_x, along_y, *diagonals = texture[12, 12].tolist()
    assert (along_x, along_y) == (9, 0)
    assert diagonals == [int(10 / 2**0.5), int(10 / 2**0.5)]
    assert pixel_bins(255 - step).texture[12, 12, 0] == TEXTURE_BINS + 9  # a fall
    assert not texture[:, :6].any()


def test_texture_does_not_depend_on_other_edges_in_the_image():
    faint = np.zeros((1, 24, 48), np.uint8)
    faint[:, :, 12:24] = 120
    both = faint.copy()
    both[:, :, 36:] = 255
    np.testing.assert_array_equal(pixel_bins(faint).texture[:, :30], pixel_bins(both).texture[:, :30])


def test_objects_are_found():
    image = photo()
    boxes = selective_search(image)
    objects = [[160 // 3 - 24, 60 - 24, 160 // 3 + 24, 60 + 24], [120 - 20, 40 - 20, 120 + 20, 40 + 20]]
    assert (iou(boxes, objects).max(0) > 0.9).all()


def test_boxes_are_float32_inside_the_image_without_duplicates():
    boxes = selective_search(random_image(90, 130, seed=4))
    assert boxes.dtype == np.float32
    assert len(boxes) > 20
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 129
    assert boxes[:, 3].max() <= 89
    assert len(np.unique(boxes, axis=0)) == len(boxes)


def test_the_seed_determines_the_order_of_the_boxes_only():
    image = random_image(90, 130, seed=5)
    first, again, other = (selective_search(image, seed=s) for s in (0, 0, 1))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    np.testing.assert_array_equal(np.unique(first, axis=0), np.unique(other, axis=0))


def test_large_boxes_tend_to_come_first():
    boxes = selective_search(random_image(120, 160, seed=6), min_side=1)
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    third = len(areas) // 3
    assert areas[:third].mean() > 2 * areas[-third:].mean()


@pytest.mark.parametrize("min_side", [0, 10, 40])
def test_min_side_drops_exactly_the_small_boxes(min_side):
    image = random_image(90, 130, seed=8)
    everything = selective_search(image, min_side=0)
    sides = everything[:, 2:] - everything[:, :2] + 1
    np.testing.assert_array_equal(selective_search(image, min_side=min_side), everything[(sides >= min_side).all(1)])


def test_boxes_of_a_downsized_image_are_scaled_back_edge_to_edge():
    image = random_image(60, 100, seed=9)
    doubled = np.kron(image, np.ones((2, 2, 1), np.uint8))
    small = selective_search(image, min_side=10).astype(np.float64)
    big = selective_search(doubled, min_side=20, max_side=100)
    np.testing.assert_array_equal(big, np.hstack([2 * small[:, :2], 2 * small[:, 2:] + 1]))
    assert any((big == [0, 0, 199, 119]).all(1))


def test_min_side_counts_pixels_of_the_original_image():
    image = random_image(200, 300, seed=10)
    boxes = selective_search(image, min_side=20, max_side=60)
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    assert len(boxes) > 3
    assert sides.min() >= 20


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (2, 500), (500, 2), (19, 400)])
def test_a_very_thin_image_has_no_boxes(shape):
    boxes = selective_search(random_image(*shape, seed=0))
    assert boxes.shape == (0, 4)
    assert boxes.dtype == np.float32


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (2, 500)])
def test_a_very_thin_image_has_boxes_with_a_small_min_side(shape):
    boxes = selective_search(random_image(*shape, seed=0), min_side=1)
    assert any((boxes == [0, 0, shape[1] - 1, shape[0] - 1]).all(1))


def test_a_very_thin_image_is_downsized_to_at_least_one_pixel():
    assert selective_search(random_image(2, 500, seed=0), min_side=1, max_side=50)[0].shape == (4,)


def test_a_uniform_image_is_one_box():
    boxes = selective_search(np.full((50, 70, 3), 128, np.uint8))
    assert boxes.tolist() == [[0, 0, 69, 49]]


def test_grey_images_equal_three_equal_channels():
    grey = random_image(60, 80, seed=11)[:, :, 0]
    three = np.repeat(grey[:, :, None], 3, 2)
    boxes = selective_search(three)
    assert len(boxes) > 3
    np.testing.assert_array_equal(selective_search(grey), boxes)


def test_memory_layout_does_not_matter():
    image = random_image(60, 80, seed=12)
    np.testing.assert_array_equal(selective_search(np.asfortranarray(image)), selective_search(image))


def test_the_modes_are_the_published_ones():
    count = {n: len(m.spaces) * len(m.measures) * len(m.scales) for n, m in module.MODES.items()}
    assert count == {"single": 1, "fast": 8, "quality": 80}


def test_quality_finds_more_than_fast_and_fast_more_than_single():
    image = random_image(60, 80, seed=13)
    single, fast, quality = (len(selective_search(image, mode=m)) for m in ("single", "fast", "quality"))
    assert single < fast < quality


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": np.zeros((5, 5, 3))}, "uint8.*float64"),
        ({"image": np.zeros((5, 5, 4), np.uint8)}, r"\(5, 5, 4\)"),
        ({"image": np.zeros((0, 5, 3), np.uint8)}, "at least one pixel"),
        ({"mode": "slow"}, "mode: expected one of single, fast, quality, got 'slow'"),
        ({"min_side": -1}, "min_side: expected 0 or more, got -1"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
        ({"max_side": 0}, "max_side: expected 1 or more, got 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        selective_search(**{"image": np.zeros((5, 5, 3), np.uint8)} | arguments)


def test_an_unknown_colour_space_is_named():
    with pytest.raises(ValueError, match=r"space: expected one of hsv.*got 'rgb'"):
        planes(np.zeros((2, 2, 3), np.uint8), "rgb")


def test_the_package_exports_the_function():
    assert callable(proposals.selective_search)


@pytest.mark.parametrize("mode", ["fast", "quality", "single"])
def test_boxes_do_not_depend_on_threads(mode):
    image = random_image(80, 110, seed=8)
    one = selective_search(image, mode, min_side=5)
    for threads in (2, 7):
        np.testing.assert_array_equal(selective_search(image, mode, min_side=5, threads=threads), one)
