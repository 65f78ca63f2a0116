"""Training augmentation: crops, mirroring, colour shifts."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from classification.augment import Augmentation, ColourComponents, crop_positions, cut
from detection.networks.built_in import CAFFE_128, TORCHVISION

PHOTO = np.random.default_rng(0).integers(0, 256, (256, 300, 3), np.uint8)


def test_crops_are_the_centre_and_the_four_corners():
    assert crop_positions((256, 300)) == [(16, 38), (0, 0), (0, 76), (32, 0), (32, 76)]
    assert cut(PHOTO, (32, 76)).shape == (224, 224, 3)
    assert np.array_equal(cut(PHOTO, (32, 76))[-1, -1], PHOTO[-1, -1])


def test_crop_positions_refuses_photos_smaller_than_the_crop():
    with pytest.raises(ValueError, match="200 x 300 pixels is smaller than the 224-pixel crop"):
        crop_positions((200, 300))


def test_smaller_views_are_the_same_crop_resized():
    augment = Augmentation(TORCHVISION, mirror=False)
    whole, small = (augment(PHOTO, size, np.random.default_rng(5)) for size in (224, 180))
    crops = [cut(PHOTO, place) for place in crop_positions(PHOTO.shape[:2])]
    chosen = next(c for c in crops if torch.equal(TORCHVISION(np.ascontiguousarray(c)), whole))
    assert torch.equal(small, TORCHVISION(cv2.resize(chosen, (180, 180), interpolation=cv2.INTER_LINEAR)))


def test_views_are_exactly_the_ten_crops_and_mirror_images():
    augment, rng = Augmentation(TORCHVISION), np.random.default_rng(0)
    seen = {augment(PHOTO, 224, rng).numpy().tobytes() for _ in range(200)}
    crops = [cut(PHOTO, place) for place in crop_positions(PHOTO.shape[:2])]
    expected = {TORCHVISION(np.ascontiguousarray(c[:, ::s])).numpy().tobytes() for c in crops for s in (1, -1)}
    assert seen == expected
    assert len({replace(augment, mirror=False)(PHOTO, 224, rng).numpy().tobytes() for _ in range(99)}) == 5


def test_components_from_sampled_pixels_match_the_covariance_of_all_pixels():
    photos = [np.random.default_rng(i).normal([90, 120, 160], [30, 10, 3], (70, 60, 3)) for i in range(3)]
    photos = [p.clip(0, 255).astype(np.uint8) for p in photos]
    pixels = np.concatenate([p.reshape(-1, 3) for p in photos])
    axes = ColourComponents.fit(photos).axes
    assert np.allclose(axes @ axes.T, np.cov(pixels.T), rtol=0.1, atol=15)


def test_uniform_grey_photos_give_no_colour_shift():
    colours = ColourComponents.fit([np.full((20, 20, 3), 77, np.uint8)])
    assert np.allclose(colours.draw(np.random.default_rng(0), 1.0), 0, atol=1e-3)


@pytest.mark.parametrize("preprocessing", [TORCHVISION, CAFFE_128])
def test_a_preprocessed_shift_equals_a_shift_of_the_pixels(preprocessing):
    rgb = np.array([3, -2, 5])
    middle = PHOTO.clip(10, 240)
    moved = (middle.astype(int) + rgb).astype(np.uint8)
    assert torch.allclose(preprocessing(middle) + preprocessing.shift(rgb), preprocessing(moved), atol=1e-5)


def test_the_same_generator_gives_the_same_view():
    augment = Augmentation(TORCHVISION, ColourComponents.fit([PHOTO]), 0.1)
    views = [augment(PHOTO, 180, np.random.default_rng([1, 2, 3])) for _ in range(2)]
    assert torch.equal(*views)
    assert not torch.equal(views[0], augment(PHOTO, 180, np.random.default_rng([1, 2, 4])))
