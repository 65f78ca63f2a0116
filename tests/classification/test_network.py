"""The network: pyramid bins, accepted image sizes, initialisation."""

import math

import numpy as np
import pytest
import torch

from classification import network
from classification.config import PYRAMIDS
from classification.extractor import Extractor
from detection import spp
from tests.classification.conftest import make_net


@pytest.mark.parametrize("levels", [*PYRAMIDS.values(), (6,), (5, 1)])
@pytest.mark.parametrize("size", [(13, 13), (10, 10), (7, 18), (1, 3), (31, 6)])
def test_pooling_a_whole_map_equals_pooling_a_window_that_covers_it(levels, size):
    maps = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 8, *size)).astype(np.float32))
    window = [[0, 0, size[1] - 1, size[0] - 1]]
    expected = spp.pyramid_pool([maps[0].numpy()], window, [0], levels, channels_last=True)
    assert np.array_equal(network.pool_whole(maps, levels).numpy(), expected)


def windows_and_strides(side, n):
    """Bins per side that the windows and strides of section 2.3 give on a map side."""
    window, stride = math.ceil(side / n), side // n
    return (side - window) // stride + 1


@pytest.mark.parametrize(("side", "n", "bins"), [(13, 6, 6), (13, 3, 3), (13, 2, 2), (10, 6, 9), (11, 4, 5)])
def test_section_2_3_gives_the_expected_bins_for_13_cells_but_not_for_10(side, n, bins):
    assert windows_and_strides(side, n) == bins
    assert network.pool_whole(torch.zeros(1, 1, side, side), [n]).shape[1] == n * n


def test_pooling_without_a_pyramid_is_plain_max_pooling_at_224_pixels():
    maps = torch.randn(2, 4, 13, 13)
    plain = torch.nn.functional.max_pool2d(maps, 3, 2)
    assert torch.equal(network.pool_whole(maps, (6,)), plain.permute(0, 2, 3, 1).flatten(1))


@pytest.mark.parametrize(("name", "bins"), [("21", 21), ("30", 30), ("50", 50)])
def test_pyramids_have_as_many_bins_as_their_names_say(name, bins):
    net = make_net(PYRAMIDS[name])
    assert net.pooled_length == bins * 64
    assert net.head.fc6.in_features == bins * 64


@pytest.mark.parametrize("size", [(224, 224), (180, 180), (97, 301), (31, 31)])
def test_a_network_with_a_pyramid_accepts_any_image_size(net, size):
    assert net(torch.zeros(1, 3, *size)).shape == (1, 2)


def test_a_network_without_a_pyramid_accepts_only_224_pixels():
    net = make_net(None).eval()
    assert net(torch.zeros(1, 3, 224, 224)).shape == (1, 2)
    with pytest.raises(ValueError, match=r"180 x 180 pixels: a network without .* accepts only 224 x 224"):
        net(torch.zeros(1, 3, 180, 180))


def test_images_too_small_for_one_cell_are_refused(net):
    with pytest.raises(ValueError, match="zf5-small needs sides of 31 or more"):
        net(torch.zeros(1, 3, 30, 30))


def test_a_head_of_another_pyramid_is_refused(net):
    with pytest.raises(ValueError, match=r"expected one for pooled vectors of length 64, got 3200"):
        network.SPPNet(net.body, net.head, 2, (1,))


def test_random_initialisation_depends_only_on_the_seed():
    same, other = make_net(seed=1).state_dict(), make_net(seed=2).state_dict()
    for name, tensor in make_net(seed=1).state_dict().items():
        assert torch.equal(tensor, same[name]), name
    assert not torch.equal(same["convolutions.conv1.weight"], other["convolutions.conv1.weight"])
    assert not torch.equal(same["head.fc6.weight"], other["head.fc6.weight"])


@pytest.mark.parametrize("backbone", ["zf5", "zf5-small", "alexnet"])
def test_random_convolutions_neither_explode_nor_vanish_on_pixels(backbone):
    body = network.random_body(backbone, 0)
    pixels = np.random.default_rng(0).normal(128, 64, (224, 224, 3)).clip(0, 255).astype(np.uint8)
    assert 0.05 < body.conv5(pixels).std() < 5


def test_only_built_in_networks_can_be_trained_from_scratch():
    with pytest.raises(ValueError, match="torchvision:resnet18: cannot be trained from scratch; use one of"):
        network.random_body("torchvision:resnet18", 0)


def test_frozen_convolutions_get_no_gradient_and_keep_their_statistics():
    net = make_net().freeze().train()
    before = {name: tensor.clone() for name, tensor in net.convolutions.state_dict().items()}
    net(torch.randn(4, 3, 64, 64)).sum().backward()
    assert net.frozen
    assert all(p.grad is None for p in net.convolutions.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.convolutions.state_dict().items())
    assert net.head.fc6.weight.grad is not None


def test_an_extractor_gives_the_logits_of_the_trained_network():
    net = make_net().train()
    for _ in range(3):
        net(torch.randn(8, 3, 64, 64))  # move the batch statistics away from their initial values
    net.eval()
    image = np.random.default_rng(0).integers(0, 256, (80, 110, 3), np.uint8)
    with torch.inference_mode():
        logits = net(net.body.preprocessing(image)[None])[0]
    extractor = Extractor.of(net)
    fc7 = extractor.vectors(image, ["fc7"])["fc7"]
    assert torch.allclose(fc7 @ net.fc8.weight.T + net.fc8.bias, logits, atol=1e-4)
