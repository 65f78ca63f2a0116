import numpy as np
import pytest

from proposals.edges import EdgeMap, detect_edges, thin


def disc(size=120, radius=35, inside=(200, 60, 60), outside=(60, 120, 60)):
    """Draw a disc; return the image, and each pixel's distance to the rim and direction from the centre."""
    y, x = np.mgrid[:size, :size] - size / 2
    r = np.hypot(y, x)
    image = np.where((r < radius)[..., None], inside, outside).astype(np.uint8)
    return image, np.abs(r - radius), np.arctan2(y, x)


def test_a_discs_rim_is_an_edge_oriented_along_its_normal():
    image, distance, angle = disc()
    edges = detect_edges(image)
    assert edges.strength[distance < 1].min() > 0.2
    assert edges.strength[distance > 12].max() == 0
    difference = np.abs(np.mod(edges.orientation - angle, np.pi))[distance < 1]
    assert np.minimum(difference, np.pi - difference).max() < 0.15


def test_edges_between_equally_bright_colours_are_detected():
    image, distance, _ = disc(inside=(150, 100, 100), outside=(95, 122, 95))
    assert detect_edges(image).strength[distance < 1].mean() > 0.1


def test_texture_is_a_weaker_edge_than_an_outline_of_the_same_contrast():
    checks = (np.indices((120, 120)) // 4).sum(0) % 2 * 100 + 50
    outline = np.where(np.indices((120, 120))[1] < 60, 50, 150)
    texture = detect_edges(checks.astype(np.uint8)).strength[20:100, 20:100].max()
    assert texture < 0.5 * detect_edges(outline.astype(np.uint8)).strength[60, 55:65].max()


def test_thinned_edges_are_at_most_two_pixels_wide():
    image, distance, _ = disc()
    thinned = thin(detect_edges(image)).strength
    assert (thinned[distance > 2] == 0).all()
    assert (thinned > 0).sum() < 2 * 2 * np.pi * 35


@pytest.mark.parametrize("shape", [(1, 1), (2, 500), (500, 2), (40, 40)])
def test_uniform_images_of_any_size_have_no_edge(shape):
    edges = detect_edges(np.full((*shape, 3), 90, np.uint8))
    assert edges.strength.shape == edges.orientation.shape == shape
    assert not edges.strength.any()
    assert not thin(edges).strength.any()


def test_values_are_in_range_and_equal_for_a_strided_view():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    edges = detect_edges(image)
    assert edges.strength.dtype == edges.orientation.dtype == np.float32
    assert 0 <= edges.strength.min() <= edges.strength.max() <= 1
    assert edges.orientation.min() >= 0
    assert edges.orientation.max() < np.pi
    wide = np.repeat(image, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(detect_edges(wide).strength, edges.strength)


def test_invalid_maps_are_an_error():
    good = np.zeros((4, 5), np.float32)
    with pytest.raises(ValueError, match=r"expected strength and orientation \(H, W\), got \(4, 5\) and \(5, 4\)"):
        EdgeMap(good, good.T)
    with pytest.raises(ValueError, match="finite numbers, got NaN"):
        EdgeMap(np.full((4, 5), np.nan, np.float32), good)
    with pytest.raises(ValueError, match="uint8"):
        detect_edges(np.zeros((4, 5, 3)))
