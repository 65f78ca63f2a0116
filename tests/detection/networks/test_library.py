"""Backbones from torchvision and timm."""

import numpy as np
import pytest
import torch

from detection import network
from detection.networks import library
from detection.weights.state_dict import write_state

PHOTO = np.random.default_rng(0).integers(0, 256, (97, 130, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "channels", "center"),
    [
        ("torchvision:resnet18", 256, 0),
        ("torchvision:vgg16", 512, 7.5),
        ("torchvision:mobilenet_v3_large", 112, 0),  # squeeze-excitation reads the whole map
        ("torchvision:convnext_tiny", 384, 7.5),  # non-overlapping patches
        ("timm:resnet18", 256, 0),
        ("timm:efficientnet_lite0", 112, 0),
    ],
)
@pytest.mark.slow
def test_the_last_block_of_stride_16_is_found(name, channels, center):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    body = network.build(name, weights=None)
    assert (body.stride, body.center, body.channels) == (16, center, channels)
    assert body.conv5(PHOTO).shape == (channels, *body.map_size(PHOTO.shape[:2]))


def test_the_map_is_that_of_the_whole_network():
    from torchvision import models

    body = network.build("torchvision:resnet18", weights=None)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = models.resnet18(weights=None).eval()
    x = body.preprocessing(PHOTO)[None]
    with torch.no_grad():
        stem = whole.maxpool(whole.relu(whole.bn1(whole.conv1(x))))
        expected = whole.layer3(whole.layer2(whole.layer1(stem)))[0]
    torch.testing.assert_close(body.conv5(PHOTO), expected, rtol=1e-4, atol=1e-4)
    assert body.preprocessing.mean == (0.485, 0.456, 0.406)


def test_weights_are_loaded_from_a_file_of_the_whole_network_or_the_backbone(tmp_path):
    from torchvision import models

    whole = models.resnet18(weights=None)
    torch.save(whole.state_dict(), tmp_path / "whole.pt")
    body = network.build("torchvision:resnet18", tmp_path / "whole.pt")
    assert torch.equal(body.state_dict()["layer3.1.conv2.weight"], whole.layer3[1].conv2.weight)
    write_state(tmp_path / "body.safetensors", body.state_dict())
    assert network.build("torchvision:resnet18", tmp_path / "body.safetensors").weights_hash == body.weights_hash
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"weights of torchvision:resnet18: .* give weights of this network"):
        network.build("torchvision:resnet18", tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:nothing", "torchvision has no 'nothing'"),
        ("torchvision:vit_b_16", "has no usable feature map of stride 16"),
        # without padding: 31 cells for 512 pixels
        ("torchvision:squeezenet1_1", "has no usable feature map of stride 16"),
        ("keras:resnet50", "expected a network of torchvision or timm"),
    ],
)
def test_unusable_networks_are_refused_in_one_line(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        network.build(name, weights=None)
    assert "\n" not in str(caught.value)


def test_a_map_whose_size_differs_from_the_computed_one_is_refused(monkeypatch):
    def cut(name, pretrained):
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 16, 1), torch.nn.ReLU()), network.NETWORKS[
            "zf5"
        ].preprocessing

    monkeypatch.setattr(library, "build", cut)
    assert network.build("torchvision:any", None).stride == 16
    monkeypatch.setattr(network.ConvBody, "map_size", lambda self, size: (7, 7))
    with pytest.raises(ValueError, match="the positions of its cells are unknown"):
        network.build("torchvision:any", None)


def test_a_missing_timm_installation_is_reported(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm:resnet18 needs timm; run: pip install 'sppnet\[timm\]'"):
        network.build("timm:resnet18")


def test_a_failed_download_is_reported_with_its_address(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models.get_model", offline)
    with pytest.raises(OSError, match=r"https://\S+: cannot be downloaded \(no network\); give a file with --weights"):
        network.build("torchvision:resnet18")
