import copy
import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from detection import image as pixels
from detection import network
from detection.network import ConvBody
from detection.weights import pretrained
from detection.weights.state_dict import write_state

NAMES = ["alexnet", "vgg16", "zf5"]


@cache
def random_body(name: str) -> ConvBody:
    return network.build(name, weights=None)


@pytest.fixture
def pretrained_alexnet() -> ConvBody:
    if not pretrained.path_of("alexnet").is_file():
        pytest.skip(f"needs {pretrained.path_of('alexnet')} (run `sppnet weights alexnet`)")
    return network.build("alexnet")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", [*NAMES, "lite0"])
def test_map_size_agrees_with_the_layers_for_every_side(name):
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


def test_bfloat16_maps_differ_by_less_than_two_percent(bfloat16):
    body, image = random_body("alexnet"), noise(120, 90)
    exact, rounded = body.conv5(image), replace(body, precision="bf16").conv5(image)
    assert rounded.dtype == torch.float32
    assert 1e-5 < (rounded - exact).norm() / exact.norm() < 0.02


def test_single_precision_is_used_on_devices_without_bfloat16(monkeypatch, caplog):
    monkeypatch.setattr("detection.networks.bfloat16.has_bfloat16", lambda device: False)
    monkeypatch.setattr("detection.network.has_bfloat16", lambda device: False)
    body, image = network.build("alexnet", None, precision="bf16"), noise(120, 90)
    assert torch.equal(body.conv5(image), replace(body, precision="fp32").conv5(image))
    with caplog.at_level("INFO"):
        network.build("alexnet", None, precision="bf16")
    assert "alexnet: this device has no fast bfloat16; using single precision" in caplog.text


def test_maps_are_deterministic_without_gradients_and_channels_last():
    body, image = random_body("alexnet"), noise(120, 90)
    map_chw = body.conv5(image)
    assert map_chw.dtype == torch.float32
    assert not map_chw.requires_grad
    assert map_chw.min() >= 0
    assert map_chw.permute(1, 2, 0).is_contiguous()
    assert torch.equal(map_chw, body.conv5(image))


def test_random_weights_are_deterministic_and_do_not_change_torchs_generator():
    before = torch.random.get_rng_state()
    assert network.assemble("alexnet").weights_hash == network.assemble("alexnet").weights_hash
    assert torch.equal(before, torch.random.get_rng_state())
    assert len({random_body(name).weights_hash for name in NAMES}) == 3


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("name", ["alexnet", "zf5"])
def test_saved_weights_are_restored(tmp_path, name, suffix):
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


def test_tensors_of_later_layers_are_ignored():
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
def test_weights_of_another_network_are_refused(change, message):
    state = {**random_body("zf5").state_dict(), **change}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(ValueError, match=f"weights of zf5: .*{message}; give weights of this network"):
        network.assemble("zf5", state)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_damaged_weights_file_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / name
    for data in (b"", b"not weights at all"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=f"{name}: not readable as weights .*give a .safetensors file") as caught:
            network.build("zf5", path)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        network.build("zf5", tmp_path / f"absent-{name}")


class Code:
    def __reduce__(self):
        return print, ("executed",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
    torch.save({"conv1.weight": Code()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt: not readable as weights"):
        network.build("zf5", tmp_path / "w.pt")
    assert "executed" not in capsys.readouterr().out


def test_a_file_without_a_state_dict_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt: expected tensors by name, got list"):
        network.build("zf5", tmp_path / "w.pt")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path, value, suffix):
    state, path = random_body("zf5").state_dict(), tmp_path / f"w.{suffix}"
    state["conv2.bias"][7] = value
    if suffix == "pt":
        torch.save(state, path)
    else:
        write_state(path, state)
    with pytest.raises(ValueError, match=r"weights of zf5: conv2\.bias holds 1 values that are not finite numbers"):
        network.build("zf5", path)


def test_unknown_networks_and_unavailable_pretrained_weights_are_refused():
    with pytest.raises(ValueError, match=r"network: expected one of alexnet, vgg16, zf5, .*lite0, .* got 'resnet'"):
        network.build("resnet")
    with pytest.raises(ValueError, match="zf5: no pretrained weights are available; give a file"):
        network.build("zf5")


def test_a_missing_device_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert network.resolve_device("auto") == network.resolve_device("cpu") == torch.device("cpu")
    for device in ("cuda", "cuda:1"):
        with pytest.raises(ValueError, match=f"{device} is not available, torch finds 0 CUDA devices; use cpu or auto"):
            network.build("zf5", None, device)
    for device in ("gpu", "mps", "meta"):
        with pytest.raises(ValueError, match=f"expected auto, cpu, cuda or cuda:N, got {device}"):
            network.resolve_device(device)


def test_auto_is_cuda_if_available(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert network.resolve_device("auto") == torch.device("cuda")
    assert network.resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match="cuda:2 is not available, torch finds 2"):
        network.resolve_device("cuda:2")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_and_cpu_give_the_same_map():
    image = noise(300, 200)
    got = network.build("alexnet", None, "cuda").conv5(image)
    assert got.device.type == "cuda"
    torch.testing.assert_close(got.cpu(), random_body("alexnet").conv5(image), rtol=1e-3, atol=1e-4)


def test_a_backbone_can_be_pickled_for_other_processes():
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
