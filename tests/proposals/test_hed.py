"""The edge network: its shape on any image, and with its real weights, edges where outlines are."""

import numpy as np
import pytest
import torch

from detection import weights
from proposals.hed import BGR_MEAN, HED, HEDLayers, detect_edges


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return HED(HEDLayers().eval().requires_grad_(False))


@pytest.fixture(scope="module")
def pretrained():
    if not weights.path_of("hed").is_file():
        pytest.skip("the weights of hed are not in the cache: run sppnet-fetch-weights hed")
    return HED.load()


@pytest.mark.parametrize("shape", [(1, 1), (2, 60), (33, 47), (64, 64)])
def test_the_map_is_as_large_as_the_image(untrained, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    strength = detect_edges(image, untrained)
    assert strength.shape == shape
    assert strength.dtype == np.float32
    assert 0 <= strength.min() <= strength.max() <= 1
    np.testing.assert_array_equal(detect_edges(image, untrained), strength)


def test_grey_is_taken_and_floats_are_refused(untrained):
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    np.testing.assert_array_equal(detect_edges(grey, untrained), detect_edges(np.stack([grey] * 3, 2), untrained))
    with pytest.raises(ValueError, match="uint8"):
        detect_edges(grey / 255, untrained)


def test_photos_enter_as_bgr_less_the_mean():
    image = np.zeros((1, 1, 3), np.uint8)
    image[0, 0] = 200, 100, 50
    np.testing.assert_allclose(BGR_MEAN(image).ravel(), [50 - 104.00699, 100 - 116.66877, 200 - 122.67892], rtol=1e-6)


def test_the_fusion_is_of_upsampled_side_outputs_of_every_stage(untrained):
    layers, photo = untrained.layers, torch.randn(1, 3, 48, 64)
    sides, x = [], photo
    for level in range(5):
        for name, layer in layers.stages[level].named_children():
            x = torch.nn.functional.max_pool2d(x, 2) if name == "pool" else layer(x)
        side = layers.sides[level](x)
        sides.append(torch.nn.functional.interpolate(side, size=(48, 64), mode="bilinear", align_corners=False))
    expected = (torch.cat(sides, 1) * layers.fuse.weight.reshape(1, 5, 1, 1)).sum(1) + layers.fuse.bias
    torch.testing.assert_close(layers(photo), expected)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"features.0.weight": torch.zeros(2, 3)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt: .*give weights of this network"):
        HED.load(tmp_path / "other.pt")


def test_pretrained_edges_lie_on_outlines(pretrained):
    y, x = np.mgrid[:160, :200]
    inside = (abs(y - 80) < 45) & (abs(x - 100) < 60)
    image = np.where(inside[..., None], (190, 60, 50), (70, 120, 90)).astype(np.uint8)
    strength = detect_edges(image, pretrained)
    rim = np.maximum(abs(y - 80) - 45, abs(x - 100) - 60)
    assert strength[abs(rim) <= 2].max(initial=0) > 0.7
    assert strength[abs(rim) <= 1].mean() > 0.4
    assert strength[abs(rim) > 15].mean() < 0.1
