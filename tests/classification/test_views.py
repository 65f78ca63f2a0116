"""Views: crops, the whole photo, windows of feature maps."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from classification import views
from classification.augment import crop_positions, cut
from classification.config import MULTI_VIEW_SCALES
from classification.extractor import Extractor
from classification.views import View
from detection import network
from detection.image import resize_short_side
from tests.classification.conftest import make_net

COARSE = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
PHOTO = cv2.resize(COARSE, (320, 240), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def extractor():
    return Extractor.of(make_net())


@pytest.mark.parametrize(
    ("view", "count"),
    [(View("crop"), 1), (View("full"), 1), (View("ten"), 10), (View("maps"), 96), (View("maps+full"), 98)],
)
def test_views_have_as_many_parts_as_in_the_paper(extractor, view, count):
    found = views.vectors(extractor, PHOTO, view, ["spp", "fc7"])
    assert found["spp"].shape == (count, 3200)
    assert found["fc7"].shape == (count, 16)
    assert found["fc7"].dtype == np.float32


@pytest.mark.parametrize("size", [(224, 224), (224, 301), (301, 224)])
def test_a_short_side_of_224_pixels_has_three_windows(size):
    boxes = views.window_boxes(size)
    assert boxes.shape == (3, 4)
    assert np.array_equal(boxes[0], [0, 0, 223, 223])
    assert np.array_equal(boxes[2], [size[1] - 224, size[0] - 224, size[1] - 1, size[0] - 1])


def test_larger_scales_have_windows_at_centre_corners_and_middles_of_the_sides():
    boxes = views.window_boxes((300, 400))
    assert boxes.shape == (9, 4)
    assert {tuple(b) for b in boxes[[0, 2, 6, 8]]} == {
        (0, 0, 223, 223), (176, 0, 399, 223), (0, 76, 223, 299), (176, 76, 399, 299),
    }  # fmt: skip
    assert np.array_equal(boxes[4], [88, 38, 311, 261])
    assert ((boxes[:, 2:] - boxes[:, :2]) == 223).all()


def test_the_window_of_a_224_pixel_square_is_the_whole_photo(extractor):
    square = PHOTO[:224, :224]
    whole = extractor.vectors(square, ["spp"])["spp"].numpy()
    window = next(views._windows(extractor, square, ["spp"]))["spp"].numpy()
    assert np.array_equal(window[0], whole)


def test_the_map_window_at_a_crop_is_the_most_similar_to_the_crop():
    """Similar, not equal: a crop ends in the padding of the layers, a window continues into the photo."""
    extractor = Extractor(network.build("alexnet", weights=None), (1, 2))
    image = resize_short_side(PHOTO, 448)
    (top, left), box = crop_positions(image.shape[:2])[0], views.window_boxes(image.shape[:2])[4]
    assert (left, top) == tuple(box[:2])
    crop = extractor.vectors(np.ascontiguousarray(cut(image, (top, left))), ["spp"])["spp"].numpy()
    shown = zip(np.repeat(MULTI_VIEW_SCALES, 2), views._windows(extractor, PHOTO, ["spp"]), strict=True)
    windows = next(found["spp"].numpy() for side, found in shown if side == 448)  # (9, D)
    cosines = windows @ crop / np.linalg.norm(crop) / np.linalg.norm(windows, axis=1)
    assert cosines.argmax() == 4
    assert cosines[4] > 0.9


def test_half_of_the_ten_views_are_mirror_images_of_the_others():
    shown = views.images(PHOTO, View("ten"))
    mirrored = [v[:, ::-1] for v in shown[5:]]
    assert np.array_equal(shown[0], mirrored[0])
    assert {v.tobytes() for v in shown[:5]} == {v.tobytes() for v in mirrored}


def test_full_keeps_the_aspect_ratio_and_warp_does_not():
    assert views.images(PHOTO, View("full", 120))[0].shape == (120, 160, 3)
    assert views.images(PHOTO, View("warp", 120))[0].shape == (120, 120, 3)
    assert views.images(PHOTO, View("crop", 300))[0].shape == (224, 224, 3)


def test_an_elongated_photo_is_shown_as_a_whole_at_a_bounded_size():
    height, width, _ = views.images(np.zeros((100, 3000, 3), np.uint8), View("full", 392))[0].shape
    assert (height, width) == (202, 6060)


@pytest.mark.parametrize("view", ["full", "maps", "maps+full"])
def test_networks_without_a_pyramid_refuse_views_of_other_sizes(view):
    extractor = Extractor.of(make_net(None))
    with pytest.raises(ValueError, match="pyramid"):
        views.vectors(extractor, PHOTO, View(view), ["fc7"])
    assert views.vectors(extractor, PHOTO, View("ten"), ["fc7"])["fc7"].shape == (10, 16)


@pytest.mark.parametrize("layer", ["conv4", "conv5"])
def test_maps_of_varying_size_are_refused_as_vectors(extractor, layer):
    with pytest.raises(ValueError, match=f"{layer}: its length depends on the size of the photo"):
        views.vectors(extractor, PHOTO, View("full"), [layer])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("round",), "expected one of crop, warp"),
        (("crop", 200), "crop needs a short side of 224 pixels or more, got 200"),
        (("full", 0), "full needs a short side of 1 pixels"),
    ],
)
def test_invalid_views_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        View(*arguments)


def test_layer_outputs_match_torchvisions_alexnet():
    from torchvision import models

    body = network.build("alexnet", weights=None)
    theirs = models.alexnet(weights=None)
    theirs.load_state_dict(body.state_dict(), strict=False)
    image = PHOTO[:224, :224]
    with torch.inference_mode():
        x = body.preprocessing(image)[None]
        conv4, conv5 = (theirs.features[: n + 1](x)[0] for n in (9, 11))
        grid = torch.nn.functional.max_pool2d(conv5, 3, 2)
    found = Extractor(body).vectors(image, ["conv4", "conv5", "6x6", "spp"])
    assert torch.allclose(found["conv4"], conv4.flatten(), atol=1e-4)
    assert torch.allclose(found["conv5"], conv5.flatten(), atol=1e-4)
    assert torch.allclose(found["6x6"], grid.permute(1, 2, 0).flatten(), atol=1e-4)
    assert torch.equal(found["spp"][-36 * 256 :], found["6x6"])


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("fc7", "lite0 has no fully connected layers"),
        ("conv4", "lite0 does not have five"),
        ("pool", "expected one of"),
    ],
)
def test_layers_that_a_network_lacks_are_named_in_the_error(layer, words):
    extractor = Extractor(network.build("lite0", weights=None))
    with pytest.raises(ValueError, match=words):
        views.vectors(extractor, PHOTO, View("crop"), [layer])


def test_bfloat16_gives_nearly_the_same_vectors(extractor, bfloat16):
    half = replace(extractor, body=replace(extractor.body, precision="bf16"))
    a, b = (views.vectors(e, PHOTO, View("full"), ["spp"])["spp"][0] for e in (extractor, half))
    assert not np.array_equal(a, b)
    assert np.linalg.norm(a - b) < 0.03 * np.linalg.norm(a)
