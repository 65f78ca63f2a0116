import copy
import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from detection import image as pixels
from detection import network
from detection.network import ConvBody
from detection.networks import built_in
from detection.networks.geometry import Window, WithinChannelLRN, window_of
from detection.weights import pretrained
from detection.weights.state_dict import write_state
from tests.reference.lrn import within_channel_lrn

NAMES = ["alexnet", "vgg16", "zf5"]


@cache
def random_body(name: str) -> ConvBody:
    return network.build(name, weights=None)


@pytest.fixture
def pretrained_alexnet() -> ConvBody:
    if not pretrained.path_of("alexnet").is_file():
        pytest.skip(f"needs {pretrained.path_of('alexnet')} (run sppnet-fetch-weights alexnet)")
    return network.build("alexnet")


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def thin(body: ConvBody) -> nn.Sequential:
    """The body's geometry with one channel, weights of one and pooling by mean, so that gradients reach all inputs."""
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
        assert 0 < reached[0] < reached[-1] < len(gradient) - 1, "the field must lie inside the image"
        assert (reached[0] + reached[-1]).item() / 2 == body.center + body.stride * cell[axis]
        field = gradient[reached[0] : reached[-1] + 1]
        torch.testing.assert_close(field, field.flip(0))


def test_receptive_field_of_zf5_is_139_pixels():
    image = torch.zeros(1, 1, 400, 400, dtype=torch.float64, requires_grad=True)
    thin(random_body("zf5"))(image)[0, 0, 10, 10].backward()
    assert len(image.grad[0, 0].sum(0).nonzero()) == 139


# SPEC of the released network: side of the image, then of conv1, pool1, conv2 and conv5
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


@pytest.mark.parametrize("name", [*NAMES, "lite0"])
def test_map_size_is_what_the_layers_give_for_every_side(name):
    body = random_body(name)
    layers = copy.deepcopy(body.layers).to("meta")  # shapes without arithmetic
    for side in [*range(body.min_input, 300 if name in NAMES else 40), 480, 576, 688, 864, 874, 1200, 2135]:
        shape = layers(torch.zeros(1, 3, side, body.min_input, device="meta")).shape
        assert body.map_size((side, body.min_input)) == tuple(shape[2:])


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_image_has_one_cell_and_a_smaller_one_is_refused(name):
    body = random_body(name)
    least = body.min_input
    assert body.conv5(noise(least, least)).shape == (body.channels, 1, 1)
    with pytest.raises(ValueError, match=f"{name} needs sides of {least} or more; use larger scales"):
        body.conv5(noise(least - 1, 100))
    with pytest.raises(RuntimeError):
        body.layers(torch.zeros(1, 3, least - 1, 100))


def test_lite_is_the_trained_network_but_for_the_steps_of_its_last_strided_block():
    dense = random_body("lite0")
    define = built_in.NETWORKS["lite0"].layers
    trained = define(max_stride=32).eval().requires_grad_(False)
    trained.load_state_dict(dense.layers.state_dict())
    image = torch.randn(1, 3, 1025, 1025)  # odd at every stride, so that both grids start at pixel 0
    with torch.no_grad():
        coarse, fine = trained(image)[0], dense.layers(image)[0]  # (320, 33, 33), (320, 65, 65)
    # every second cell, away from the borders, where dilated blocks see their padding differently
    torch.testing.assert_close(fine[:, 16:-16:2, 16:-16:2], coarse[:, 8:-8, 8:-8], rtol=1e-3, atol=1e-4)
    assert coarse.std() > 0.01


def test_lite_networks_have_the_published_widths_and_depths():
    shapes = {}
    for name in ("lite0", "lite2"):
        depthwise = [m for m in random_body(name).layers.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
        shapes[name] = [(m.groups, m.kernel_size[0]) for m in depthwise]
    assert shapes["lite0"] == [
        (32, 3), (96, 3), (144, 3), (144, 5), (240, 5), (240, 3), (480, 3), (480, 3), (480, 5), (672, 5), (672, 5),
        (672, 5), (1152, 5), (1152, 5), (1152, 5), (1152, 3),
    ]  # fmt: skip
    assert shapes["lite2"] == [
        (32, 3), (96, 3), (144, 3), (144, 3), (144, 5), (288, 5), (288, 5), (288, 3), (528, 3), (528, 3), (528, 3),
        (528, 5), (720, 5), (720, 5), (720, 5), (720, 5), (1248, 5), (1248, 5), (1248, 5), (1248, 5), (1248, 3),
    ]  # fmt: skip


def test_bfloat16_maps_are_single_precision_maps_to_a_percent(bfloat16):
    body, image = random_body("alexnet"), noise(120, 90)
    exact, rounded = body.conv5(image), replace(body, precision="bf16").conv5(image)
    assert rounded.dtype == torch.float32
    assert 1e-5 < (rounded - exact).norm() / exact.norm() < 0.02


def test_maps_are_in_single_precision_where_bfloat16_would_be_emulated(monkeypatch, caplog):
    monkeypatch.setattr("detection.networks.bfloat16.has_bfloat16", lambda device: False)
    monkeypatch.setattr("detection.network.has_bfloat16", lambda device: False)
    body, image = network.build("alexnet", None, precision="bf16"), noise(120, 90)
    assert torch.equal(body.conv5(image), replace(body, precision="fp32").conv5(image))
    with caplog.at_level("INFO"):
        network.build("alexnet", None, precision="bf16")
    assert "alexnet: no fast bfloat16 here; single precision is used" in caplog.text


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 0), (3, 2, 1), (2, 2, 1), (2, 3, 0), (5, 3, 2)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_window_counts_outputs_as_torch_does(kernel, stride, padding, ceil_mode):
    pool = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    window = window_of(pool)
    assert window == Window(kernel, stride, padding, ceil_mode)
    for side in range(kernel, 40):
        assert window.outputs(side) == pool(torch.zeros(1, side, kernel)).shape[1]


def test_a_dilated_convolution_reads_a_wider_window():
    assert window_of(nn.Conv2d(1, 1, 3, dilation=2)) == Window(5, 1, 0)


@pytest.mark.parametrize("layer", [nn.Conv2d(1, 1, (3, 5)), nn.Upsample(2), nn.Conv2d(1, 1, 3, padding="same")])
def test_layers_of_unknown_geometry_are_refused(layer):
    with pytest.raises(ValueError, match="layer "):
        window_of(layer)


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


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("shape", [(2, 1, 1), (3, 4, 6)])
def test_within_channel_normalisation_is_caffes(size, shape):
    x = np.random.default_rng(0).normal(0, 50, shape).astype(np.float32)
    got = WithinChannelLRN(size, 5e-2, 0.75)(torch.from_numpy(x)[None])[0]
    np.testing.assert_allclose(got, within_channel_lrn(x, size, 5e-2, 0.75), rtol=1e-5)


def test_zf5_sees_bgr_less_128():
    body, image = random_body("zf5"), noise(60, 70)
    batch = torch.from_numpy(image[:, :, ::-1].astype(np.float32) - 128).permute(2, 0, 1)[None]
    torch.testing.assert_close(body.conv5(image), body.layers(batch)[0])


@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_torchvision_networks_see_what_torchvision_gives_them_and_end_before_the_last_pooling(name):
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


def test_a_map_is_the_same_on_every_run_without_gradients_and_channels_last():
    body, image = random_body("alexnet"), noise(120, 90)
    map_chw = body.conv5(image)
    assert map_chw.dtype == torch.float32
    assert not map_chw.requires_grad
    assert map_chw.min() >= 0
    assert map_chw.permute(1, 2, 0).is_contiguous()
    assert torch.equal(map_chw, body.conv5(image))


def test_random_weights_are_the_same_each_time_and_leave_torchs_generator_alone():
    before = torch.random.get_rng_state()
    assert network.assemble("alexnet").weights_hash == network.assemble("alexnet").weights_hash
    assert torch.equal(before, torch.random.get_rng_state())
    assert len({random_body(name).weights_hash for name in NAMES}) == 3


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("name", ["alexnet", "zf5"])
def test_saved_weights_come_back(tmp_path, name, suffix):
    body, path = random_body(name), tmp_path / f"sub/{name}{suffix}"
    if suffix == ".pt":
        path.parent.mkdir()
        torch.save(body.state_dict(), path)
    else:
        write_state(path, body.state_dict())
    again = network.build(name, path)
    assert again.weights_hash == body.weights_hash
    image = noise(64, 64)
    assert torch.equal(again.conv5(image), body.conv5(image))


def test_a_whole_networks_file_gives_its_convolutions():
    state = network.assemble("alexnet").state_dict()
    body = network.assemble("alexnet", {**state, "classifier.1.weight": torch.zeros(2, 2)})
    assert body.weights_hash == network.assemble("alexnet").weights_hash
    zf5 = network.assemble("zf5", {**random_body("zf5").state_dict(), "fc6.weight": torch.zeros(2, 2)})
    assert zf5.weights_hash == random_body("zf5").weights_hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1.weight": torch.zeros(96, 3, 5, 5)}, r"expected \(96, 3, 7, 7\), got \(96, 3, 5, 5\)"),
        ({"conv6.weight": torch.zeros(1)}, r"conv6.weight: expected no such tensor, got \(1,\)"),
        ({"conv2.bias": None}, r"conv2.bias: expected \(256,\), got no such tensor"),
    ],
)
def test_weights_of_another_network_are_one_clear_error(change, message):
    state = {**random_body("zf5").state_dict(), **change}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(ValueError, match=f"weights of zf5: .*{message}; give weights of this network"):
        network.assemble("zf5", state)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_damaged_file_of_weights_is_one_clear_error(tmp_path, name):
    path = tmp_path / name
    for data in (b"", b"not weights at all"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=f"{name}: no readable weights .*give a .safetensors file") as caught:
            network.build("zf5", path)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        network.build("zf5", tmp_path / f"absent-{name}")


class Code:
    def __reduce__(self):
        return print, ("executed",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
    torch.save({"conv1.weight": Code()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt: no readable weights"):
        network.build("zf5", tmp_path / "w.pt")
    assert "executed" not in capsys.readouterr().out


def test_a_file_of_something_else_is_one_clear_error(tmp_path):
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt: expected tensors by name, got list"):
        network.build("zf5", tmp_path / "w.pt")


def test_unknown_networks_and_zf5_pretrained_are_refused():
    with pytest.raises(ValueError, match=r"network: expected one of alexnet, vgg16, zf5, .*lite0, .* got 'resnet'"):
        network.build("resnet")
    with pytest.raises(ValueError, match="zf5: no pretrained weights can be fetched; give a file"):
        network.build("zf5")


def test_a_device_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert network.resolve_device("auto") == network.resolve_device("cpu") == torch.device("cpu")
    for device in ("cuda", "cuda:1"):
        with pytest.raises(ValueError, match=f"{device} asked for, but torch sees 0 CUDA devices; use cpu or auto"):
            network.build("zf5", None, device)
    for device in ("gpu", "mps", "meta"):
        with pytest.raises(ValueError, match=f"expected auto, cpu, cuda or cuda:N, got {device}"):
            network.resolve_device(device)


def test_auto_is_cuda_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert network.resolve_device("auto") == torch.device("cuda")
    assert network.resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="cuda:2 asked for, but torch sees 2"):
        network.resolve_device("cuda:2")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_and_cpu_give_the_same_map():
    image = noise(300, 200)
    got = network.build("alexnet", None, "cuda").conv5(image)
    assert got.device.type == "cuda"
    torch.testing.assert_close(got.cpu(), random_body("alexnet").conv5(image), rtol=1e-3, atol=1e-4)


def test_a_body_travels_to_other_processes():
    body = pickle.loads(pickle.dumps(random_body("zf5")))
    assert body.weights_hash == random_body("zf5").weights_hash


def test_pretrained_alexnet_has_the_known_hash(pretrained_alexnet):
    assert pretrained_alexnet.weights_hash == "dad556f11d2a50ed4dc90e8eebf7ef8d3494e51dc5dda06d7972984533778242"
    assert pretrained.sha256_of_state(pretrained.load("alexnet")) == pretrained_alexnet.weights_hash


def test_pretrained_maps_of_photos_are_sparse_and_far_below_the_limit_of_half_precision(pretrained_alexnet, shared):
    folder = shared / "voc2007" / "VOCdevkit2007" / "VOC2007" / "JPEGImages"
    for path in sorted(folder.glob("*.jpg"))[:3]:
        map_chw = pretrained_alexnet.conv5(pixels.resize_short_side(pixels.read(path), 480))
        assert 0.05 < (map_chw > 0).float().mean() < 0.15
        assert 5 < map_chw.max() < 100
