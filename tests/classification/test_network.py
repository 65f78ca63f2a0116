"""The network: its bins, the sizes that it takes, where it starts."""

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
def test_pooling_a_whole_map_is_pooling_a_window_that_is_the_map(levels, size):
    maps = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 8, *size)).astype(np.float32))
    window = [[0, 0, size[1] - 1, size[0] - 1]]
    expected = spp.pyramid_pool([maps[0].numpy()], window, [0], levels, channels_last=True)
    assert np.array_equal(network.pool_whole(maps, levels).numpy(), expected)


def windows_and_strides(side, n):
    """Bins that the recipe of section 2.3 gives a side of a map."""
    window, stride = math.ceil(side / n), side // n
    return (side - window) // stride + 1


@pytest.mark.parametrize(("side", "n", "bins"), [(13, 6, 6), (13, 3, 3), (13, 2, 2), (10, 6, 9), (11, 4, 5)])
def test_the_recipe_of_windows_and_strides_holds_for_13_cells_and_not_for_10(side, n, bins):
    assert windows_and_strides(side, n) == bins
    assert network.pool_whole(torch.zeros(1, 1, side, side), [n]).shape[1] == n * n


def test_pool5_of_a_network_without_a_pyramid_is_plain_pooling_of_224_pixels():
    maps = torch.randn(2, 4, 13, 13)
    plain = torch.nn.functional.max_pool2d(maps, 3, 2)
    assert torch.equal(network.pool_whole(maps, (6,)), plain.permute(0, 2, 3, 1).flatten(1))


@pytest.mark.parametrize(("name", "bins"), [("21", 21), ("30", 30), ("50", 50)])
def test_pyramids_have_the_bins_that_name_them(name, bins):
    net = make_net(PYRAMIDS[name])
    assert net.pooled_length == bins * 64
    assert net.head.fc6.in_features == bins * 64


@pytest.mark.parametrize("size", [(224, 224), (180, 180), (97, 301), (31, 31)])
def test_a_network_with_a_pyramid_takes_photos_of_any_size(net, size):
    assert net(torch.zeros(1, 3, *size)).shape == (1, 2)


def test_a_network_without_one_takes_224_pixels_only():
    net = make_net(None).eval()
    assert net(torch.zeros(1, 3, 224, 224)).shape == (1, 2)
    with pytest.raises(ValueError, match=r"180 x 180 pixels: a network without .* takes only 224 x 224"):
        net(torch.zeros(1, 3, 180, 180))


def test_an_image_without_a_single_cell_is_refused(net):
    with pytest.raises(ValueError, match="zf5-small needs sides of 31 or more"):
        net(torch.zeros(1, 3, 30, 30))


def test_a_head_for_another_pyramid_is_refused(net):
    with pytest.raises(ValueError, match=r"takes vectors of 3200, the pyramid gives 64"):
        network.SPPNet(net.body, net.head, 2, (1,))


def test_random_starts_are_the_same_for_a_seed_and_differ_between_seeds():
    same, other = make_net(seed=1).state_dict(), make_net(seed=2).state_dict()
    for name, tensor in make_net(seed=1).state_dict().items():
        assert torch.equal(tensor, same[name]), name
    assert not torch.equal(same["convolutions.conv1.weight"], other["convolutions.conv1.weight"])
    assert not torch.equal(same["head.fc6.weight"], other["head.fc6.weight"])


@pytest.mark.parametrize("backbone", ["zf5", "zf5-small", "alexnet"])
def test_a_random_body_neither_swells_nor_dies_on_pixels(backbone):
    body = network.random_body(backbone, 0)
    pixels = np.random.default_rng(0).normal(128, 64, (224, 224, 3)).clip(0, 255).astype(np.uint8)
    assert 0.05 < body.conv5(pixels).std() < 5


def test_networks_without_a_known_start_from_scratch_are_refused():
    with pytest.raises(ValueError, match="torchvision:resnet18: training from scratch knows"):
        network.random_body("torchvision:resnet18", 0)


def test_frozen_convolutions_take_no_gradient_and_keep_their_statistics():
    net = make_net().freeze().train()
    before = {name: tensor.clone() for name, tensor in net.convolutions.state_dict().items()}
    net(torch.randn(4, 3, 64, 64)).sum().backward()
    assert net.frozen
    assert all(p.grad is None for p in net.convolutions.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.convolutions.state_dict().items())
    assert net.head.fc6.weight.grad is not None


def test_an_extractor_says_what_the_trained_network_says():
    net = make_net().train()
    for _ in range(3):
        net(torch.randn(8, 3, 64, 64))  # statistics that are not those of the start
    net.eval()
    image = np.random.default_rng(0).integers(0, 256, (80, 110, 3), np.uint8)
    with torch.inference_mode():
        logits = net(net.body.preprocessing(image)[None])[0]
    extractor = Extractor.of(net)
    fc7 = extractor.vectors(image, ["fc7"])["fc7"]
    assert torch.allclose(fc7 @ net.fc8.weight.T + net.fc8.bias, logits, atol=1e-4)
