from dataclasses import replace

import numpy as np
import pytest

from detection.boxes import iou
from proposals import edge_boxes as module
from proposals.edge_boxes import WEAKEST_PATH, EdgeBoxesSettings, edge_boxes, search, sliding_windows
from proposals.edge_groups import REACH, group_edges
from proposals.edges import EdgeMap, detect_edges, thin
from tests.reference import edge_boxes as literal

PLAIN = EdgeBoxesSettings()


def scene(seed=0, objects=4):
    """Draw rectangles, one per quarter, on a slightly noisy (150, 200) background; return the image and their boxes."""
    rng = np.random.default_rng(seed)
    image = rng.integers(110, 120, (150, 200, 3)).astype(np.uint8)
    boxes = []
    for i in range(objects):
        h, w = rng.integers(38, 60, 2)
        y, x = 75 * (i // 2) + rng.integers(5, 70 - h), 100 * (i % 2) + rng.integers(5, 95 - w)
        image[y : y + h, x : x + w] = rng.integers(0, 90, 3)
        boxes.append([x, y, x + w - 1, y + h - 1])
    return image, np.array(boxes, np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_the_literal_version(seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (9, 12, 3)).repeat(5, 0).repeat(5, 1).astype(np.uint8)
    edges = thin(detect_edges(image))
    groups = group_edges(edges.strength, edges.orientation)
    affinity = literal.affinities(groups.labels, edges.strength, edges.orientation, PLAIN.gamma, REACH)
    assert affinity
    contours = module._prepare(edges, groups, PLAIN)
    n = len(groups.magnitude)
    scratch = module._Scratch(np.zeros(n, np.int32), np.zeros(n + 1, np.int32), np.zeros(n + 1))
    positive = 0
    for _ in range(60):
        x1, y1 = rng.integers(0, 40), rng.integers(0, 30)
        box = (x1, y1, rng.integers(x1 + 6, 60), rng.integers(y1 + 6, 45))
        expected = literal.score(box, groups.labels, edges.strength, affinity, PLAIN.kappa, WEAKEST_PATH)
        positive += expected >= 1e-3
        got = module._score(contours, scratch, *box, 1e-3)
        assert got == pytest.approx(expected if expected >= 1e-3 else 0, abs=1e-9)
    assert positive > 10


def test_pairs_and_affinities_of_groups_equal_the_literal_version():
    image = scene(1)[0][:70, :90]
    edges = thin(detect_edges(image))
    groups = group_edges(edges.strength, edges.orientation)
    expected = literal.affinities(groups.labels, edges.strength, edges.orientation, PLAIN.gamma, REACH)
    got = {
        (a, int(groups.neighbour[k])): groups.affinity[k]
        for a in range(len(groups.magnitude))
        for k in range(groups.start[a], groups.start[a + 1])
    }
    assert got.keys() == expected.keys()
    assert len(got) > 5
    for pair, value in expected.items():
        assert got[pair] == pytest.approx(value, abs=1e-6)


def test_a_group_turns_by_at_most_a_quarter_circle():
    y, x = np.mgrid[:100, :100] - 50.0
    ring = np.exp(-np.abs(np.hypot(y, x) - 30)).astype(np.float32)
    edges = thin(EdgeMap(ring, np.mod(np.arctan2(y, x), np.pi).astype(np.float32)))
    labels = group_edges(edges.strength, edges.orientation).labels
    assert 4 <= labels.max() + 1 <= 16
    for group in range(labels.max() + 1):
        angles = np.unwrap(np.sort(np.arctan2(y, x)[labels == group]))
        gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
        assert 2 * np.pi - gaps.max() < 0.75 * np.pi


def test_groups_of_small_magnitude_are_dissolved():
    strength = np.zeros((20, 20), np.float32)
    strength[5, 5:15] = 0.5
    strength[15, 15] = 0.3  # isolated, and below the minimum magnitude
    labels = group_edges(strength, np.full((20, 20), np.pi / 2, np.float32)).labels
    assert labels[15, 15] == -1
    assert (labels[5, 5:15] == 0).all()


def test_objects_are_found_first():
    image, objects = scene()
    boxes, _ = edge_boxes(image)
    assert (iou(boxes[:200], objects).max(axis=0) > 0.7).all()


def test_a_box_around_a_contour_scores_higher_than_one_that_cuts_it():
    image = np.full((150, 200, 3), 100, np.uint8)
    image[40:100, 60:140] = 220
    boxes, scores = edge_boxes(image)
    around, cutting = np.array([[60, 40, 139, 99]]), np.array([[60, 40, 99, 99]])
    best = scores[iou(boxes, around)[:, 0] > 0.8].max()
    assert best > scores[iou(boxes, cutting)[:, 0] > 0.8].max(initial=0)
    assert best == scores[0]


def test_boxes_are_ranked_distinct_inside_and_repeatable():
    image, _ = scene(2)
    boxes, scores = edge_boxes(image)
    assert (np.diff(scores) <= 0).all()
    assert boxes.dtype == scores.dtype == np.float32
    assert boxes.min() >= 0
    assert (boxes.max(axis=0) <= [199, 149, 199, 149]).all()
    assert ((boxes[:, 2:] - boxes[:, :2] + 1) >= 20).all()
    overlaps = iou(boxes, boxes)
    assert overlaps[~np.eye(len(boxes), dtype=bool)].max() <= PLAIN.beta
    np.testing.assert_array_equal(edge_boxes(image)[0], boxes)


def test_suppression_equals_the_literal_version():
    rng = np.random.default_rng(3)
    corner = rng.integers(0, 60, (400, 2))
    boxes = np.hstack([corner, corner + rng.integers(3, 60, (400, 2))]).astype(np.int32)
    for beta in (0.3, 0.75):
        kept = []
        for i in range(len(boxes)):
            if not kept or iou(boxes[i : i + 1], boxes[kept]).max() <= beta:
                kept.append(i)
        assert module._suppress(boxes, beta, 1000).tolist() == kept
        assert module._suppress(boxes, beta, 7).tolist() == kept[:7]


def test_windows_cover_the_image_at_every_scale():
    windows = sliding_windows((120, 160), PLAIN.alpha, PLAIN.max_aspect, PLAIN.min_area)
    assert windows.min() == 0
    assert windows[:, 2].max() == 159
    assert windows[:, 3].max() == 119
    area = (windows[:, 2] - windows[:, 0] + 1) * (windows[:, 3] - windows[:, 1] + 1)
    assert area.max() > 0.6 * 120 * 160
    rng = np.random.default_rng(0)
    for _ in range(50):
        side = rng.uniform(35, 100)
        x, y = rng.uniform(0, 159 - side), rng.uniform(0, 119 - side)
        assert iou([[x, y, x + side, y + side]], windows).max() > PLAIN.alpha - 0.05


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"alpha": 0.75}, lambda n, m: m > n),
        ({"beta": 0.5}, lambda n, m: m < n),
        ({"min_score": 0.05}, lambda n, m: m < n),
        ({"max_boxes": 5}, lambda n, m: m == 5),
        ({"max_boxes": 0}, lambda n, m: m == 0),
        ({"min_side": 50}, lambda n, m: m < n),
    ],
)
def test_every_setting_has_its_effect(change, claim):
    image, _ = scene(4)
    assert claim(len(edge_boxes(image)[0]), len(edge_boxes(image, settings=replace(PLAIN, **change))[0]))


def test_a_large_photo_is_downsized_for_the_search():
    image, objects = scene(5)
    large = image.repeat(4, axis=0).repeat(4, axis=1)
    boxes, _ = edge_boxes(large, max_side=200)
    assert (iou(boxes[:200], 4 * objects + [0, 0, 3, 3]).max(axis=0) > 0.7).all()
    small = detect_edges(image)
    np.testing.assert_array_equal(edge_boxes(image, small)[0], edge_boxes(image)[0])


@pytest.mark.parametrize("shape", [(1, 1), (2, 500), (60, 60)])
def test_a_uniform_image_has_no_box(shape):
    boxes, scores = edge_boxes(np.full((*shape, 3), 77, np.uint8))
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)


def test_grey_and_strided_images_are_accepted_and_others_are_an_error():
    image, _ = scene(6)
    grey = image[:, :, 0]
    np.testing.assert_array_equal(edge_boxes(grey)[0], edge_boxes(np.stack([grey] * 3, 2))[0])
    np.testing.assert_array_equal(edge_boxes(image[::2, ::2])[0], edge_boxes(image[::2, ::2].copy())[0])
    with pytest.raises(ValueError, match="uint8"):
        edge_boxes(image / 255)
    with pytest.raises(ValueError, match=r"edges: expected a map of shape \(150, 200\), got \(10, 10\)"):
        edge_boxes(image, EdgeMap(*np.zeros((2, 10, 10), np.float32)))
    with pytest.raises(ValueError, match="alpha: expected a number between 0 and 1, got 1"):
        EdgeBoxesSettings(alpha=1)


def test_scores_of_a_search_equal_scoring_without_a_bound():
    image, _ = scene(7)
    edges = thin(detect_edges(image))
    boxes, scores = search(edges, PLAIN)
    groups = group_edges(edges.strength, edges.orientation)
    contours = module._prepare(edges, groups, PLAIN)
    n = len(groups.magnitude)
    scratch = module._Scratch(np.zeros(n, np.int32), np.zeros(n + 1, np.int32), np.zeros(n + 1))
    again = [module._score(contours, scratch, *box, 1e-9) for box in boxes.tolist()]
    np.testing.assert_allclose(scores, again)
