"""Photos that look alike, and photos that do not."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from data.near_duplicates import Looks, look_of


def scenes(count, seed=0):
    """Smooth random photos, uint8 RGB (120, 160, 3)."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        noise = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8))
        yield np.asarray(noise.resize((160, 120)).filter(ImageFilter.GaussianBlur(4)))


def alike(photos, others):
    return Looks.of(list(map(look_of, photos))).alike(Looks.of(list(map(look_of, others))))


def test_different_photos_do_not_look_alike():
    assert alike(scenes(300, 1), scenes(300, 2)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: picture,
        lambda picture: picture.resize((80, 60)),
        lambda picture: picture.resize((416, 416)),
        lambda picture: picture.crop((1, 1, 159, 119)),
        lambda picture: picture.point(lambda v: min(v + 5, 255)),
    ],
)
def test_copies_look_alike_and_only_they(change):
    photos = list(scenes(300))
    copies = [np.asarray(change(Image.fromarray(photo))) for photo in photos]
    assert alike(photos, copies) == [(i, i) for i in range(300)]


def test_uniform_photos_of_different_brightness_do_not_look_alike():
    black, grey = np.zeros((50, 50, 3), np.uint8), np.full((50, 50, 3), 90, np.uint8)
    assert alike([black, grey], [black]) == [(0, 0)]


def test_tiny_and_no_photos_are_no_problem():
    dot = np.zeros((1, 1, 3), np.uint8)
    assert alike([dot], [dot]) == [(0, 0)]
    assert alike([dot], []) == alike([], [dot]) == []
