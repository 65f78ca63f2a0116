from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from detection import network
from detection.network import ConvBody
from detection.networks import built_in

NAMES = ["alexnet", "vgg16", "zf5"]


@cache
def random_body(name: str) -> ConvBody:
    return network.build(name, weights=None)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def thin(body: ConvBody) -> nn.Sequential:
    """Copy a backbone's geometry: one channel, weights of one and mean pooling, so that gradients reach all inputs."""
    layers: list[nn.Module] = []
    for layer in body.layers.modules():
        if isinstance(layer, nn.Conv2d):
            conv = nn.Conv2d(1, 1, layer.kernel_size, layer.stride, layer.padding, layer.dilation, bias=False)
            layers.append(conv.requires_grad_(False))
            conv.weight.fill_(1.0)
        elif isinstance(layer, nn.MaxPool2d):
            layers.append(nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode))
    return nn.Sequential(*layers).double()


@pytest.mark.parametrize(
    ("name", "stride", "center", "channels"),
    [
        ("alexnet", 16, 15, 256),
        ("vgg16", 16, 7.5, 512),
        ("zf5", 16, 20, 256),
        ("lite0", 16, 0, 320),
        ("lite1", 16, 0, 320),
        ("lite2", 16, 0, 352),
    ],
)
def test_stride_centre_and_channels_are_the_published_ones(name, stride, center, channels):
    body = random_body(name)
    assert (body.stride, body.center, body.channels) == (stride, center, channels)


@pytest.mark.parametrize(
    ("name", "size", "cell"),
    [*((name, (400, 416), cell) for name in NAMES for cell in ((9, 8), (10, 12))), ("lite0", (2400, 2000), (70, 61))],
)
def test_gradients_of_a_cell_are_symmetric_about_its_centre(name, size, cell):
    body = random_body(name)
    image = torch.zeros(1, 1, *size, dtype=torch.float64, requires_grad=True)
    thin(body)(image)[0, 0, cell[0], cell[1]].backward()
    for axis in (0, 1):
        gradient = image.grad[0, 0].sum(1 - axis)
        reached = gradient.nonzero().squeeze(1)
        assert 0 < reached[0] < reached[-1] < len(gradient) - 1, "the receptive field must lie inside the image"
        assert (reached[0] + reached[-1]).item() / 2 == body.center + body.stride * cell[axis]
        field = gradient[reached[0] : reached[-1] + 1]
        torch.testing.assert_close(field, field.flip(0))


def test_receptive_field_of_zf5_is_139_pixels():
    image = torch.zeros(1, 1, 400, 400, dtype=torch.float64, requires_grad=True)
    thin(random_body("zf5"))(image)[0, 0, 10, 10].backward()
    assert len(image.grad[0, 0].sum(0).nonzero()) == 139


# the released network: side of the image, then of conv1, pool1, conv2 and conv5
ZF5_SIDES = [
    (180, 88, 44, 20, 10), (224, 110, 55, 26, 13), (256, 126, 63, 30, 15), (300, 148, 74, 35, 17),
    (360, 178, 89, 43, 21), (392, 194, 97, 47, 23), (448, 222, 111, 54, 27), (480, 238, 119, 58, 29),
    (560, 278, 139, 68, 34), (576, 286, 143, 70, 35), (688, 342, 171, 84, 42), (864, 430, 215, 106, 53),
    (874, 435, 217, 107, 53), (1200, 598, 299, 148, 74),
]  # fmt: skip


@pytest.mark.parametrize("sides", ZF5_SIDES)
def test_zf5_has_the_published_sizes_at_every_layer(sides):
    body = random_body("zf5")
    side, got = sides[0], []
    for layer, window in zip(body.layers, body.windows, strict=True):
        side = window.outputs(side)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            got.append(side)
    assert (got[0], got[1], got[2], got[-1]) == sides[1:]
    assert body.map_size((sides[0], 480)) == (sides[-1], 29)


def test_lite_agrees_with_the_trained_network_at_every_second_cell():
    dense = random_body("lite0")
    define = built_in.NETWORKS["lite0"].layers
    trained = define(max_stride=32).eval().requires_grad_(False)
    trained.load_state_dict(dense.layers.state_dict())
    image = torch.randn(1, 3, 1025, 1025)  # sides are odd at every stride, so that both grids start at pixel 0
    with torch.no_grad():
        coarse, fine = trained(image)[0], dense.layers(image)[0]  # (320, 33, 33), (320, 65, 65)
    # away from the borders, where the padding of dilated blocks has another effect
    torch.testing.assert_close(fine[:, 16:-16:2, 16:-16:2], coarse[:, 8:-8, 8:-8], rtol=1e-3, atol=1e-4)
    assert coarse.std() > 0.01


def test_lite_networks_have_the_published_widths_and_depths():
    shapes = {}
    for name in ("lite0", "lite1", "lite2"):
        depthwise = [m for m in random_body(name).layers.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
        shapes[name] = [(m.groups, m.kernel_size[0]) for m in depthwise]
    assert shapes["lite0"] == [
        (32, 3), (96, 3), (144, 3), (144, 5), (240, 5), (240, 3), (480, 3), (480, 3), (480, 5), (672, 5), (672, 5),
        (672, 5), (1152, 5), (1152, 5), (1152, 5), (1152, 3),
    ]  # fmt: skip
    assert shapes["lite1"] == [
        (32, 3), (96, 3), (144, 3), (144, 3), (144, 5), (240, 5), (240, 5), (240, 3), (480, 3), (480, 3), (480, 3),
        (480, 5), (672, 5), (672, 5), (672, 5), (672, 5), (1152, 5), (1152, 5), (1152, 5), (1152, 5), (1152, 3),
    ]  # fmt: skip
    assert shapes["lite2"] == [
        (32, 3), (96, 3), (144, 3), (144, 3), (144, 5), (288, 5), (288, 5), (288, 3), (528, 3), (528, 3), (528, 3),
        (528, 5), (720, 5), (720, 5), (720, 5), (720, 5), (1248, 5), (1248, 5), (1248, 5), (1248, 5), (1248, 3),
    ]  # fmt: skip


def test_zf5_is_the_published_network():
    kinds = [type(layer).__name__ for layer in random_body("zf5").layers]
    block = ["Conv2d", "ReLU", "WithinChannelLRN", "MaxPool2d"]
    assert kinds == [*block, *block, *["Conv2d", "ReLU"] * 3]
    shapes = {k: tuple(t.shape) for k, t in random_body("zf5").state_dict().items() if k.endswith("weight")}
    assert shapes == {
        "conv1.weight": (96, 3, 7, 7),
        "conv2.weight": (256, 96, 5, 5),
        "conv3.weight": (384, 256, 3, 3),
        "conv4.weight": (384, 384, 3, 3),
        "conv5.weight": (256, 384, 3, 3),
    }
    norm = random_body("zf5").layers.norm2
    assert (norm.size, norm.alpha, norm.beta) == (3, 5e-5, 0.75)


def test_zf5_takes_bgr_minus_128():
    body, image = random_body("zf5"), noise(60, 70)
    batch = torch.from_numpy(image[:, :, ::-1].astype(np.float32) - 128).permute(2, 0, 1)[None]
    torch.testing.assert_close(body.conv5(image), body.layers(batch)[0])


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_torchvision_networks_preprocess_as_torchvision_and_end_before_the_last_pooling(name):
    import torchvision

    body, image = random_body(name), noise(60, 70)
    with torch.device("meta"):
        whole = getattr(torchvision.models, name)(weights=None)
    features = whole.features
    features.load_state_dict({k.removeprefix("features."): t for k, t in body.state_dict().items()}, assign=True)
    transforms = torchvision.transforms.functional
    batch = transforms.normalize(transforms.to_tensor(image), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    expected = features[:-1](batch[None])[0].detach()
    assert isinstance(features[-1], nn.MaxPool2d)
    assert str(body.layers) == str(features[:-1])
    torch.testing.assert_close(body.conv5(image), expected, rtol=1e-4, atol=1e-4)  # memory layouts differ
