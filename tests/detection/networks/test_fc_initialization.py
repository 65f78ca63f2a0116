"""Initial weights of fc6 and fc7: ImageNet's, a file's, random ones."""

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from detection import features, network
from detection.config import PAPER, PoolingConfig
from detection.networks import fc_initialization
from detection.networks.fc_head import FcHead
from detection.weights.half_precision import to_half


def whole_network(channels, side, width=10):
    first = 1 if side == 6 else 0
    shapes = {first: (width, channels * side * side), first + 3: (width, width)}
    return {f"classifier.{i}.weight": torch.randn(s) for i, s in shapes.items()} | {
        f"classifier.{i}.bias": torch.randn(width) for i in shapes
    }


def test_alexnet_layers_read_the_finest_level_and_ignore_the_others():
    state = whole_network(channels=2, side=6)
    head_state = fc_initialization.from_torchvision(state, inputs=2 * 50)
    head = FcHead(100, 10)
    head.load_state_dict(head_state)
    pool5 = torch.randn(3, 100)
    theirs = pool5[:, 28:].unflatten(1, (36, 2)).transpose(1, 2).flatten(1)  # the 6 x 6 level, channel by channel
    fc6 = theirs @ state["classifier.1.weight"].T + state["classifier.1.bias"]
    fc7 = fc6.relu() @ state["classifier.4.weight"].T + state["classifier.4.bias"]
    torch.testing.assert_close(head.eval()(pool5), fc7.relu())


def test_a_window_of_224_pixels_gives_what_alexnet_gives_a_photo_of_224():
    from torchvision.models import alexnet

    torch.manual_seed(0)
    whole = alexnet(weights=None).eval()
    body = network.assemble("alexnet", whole.state_dict())
    photo = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    pyramid = features.compute_pyramid(photo, body, (224,))
    cells = features.Cells(np.zeros(1, np.int64), np.array([[0, 0, 12, 12]]))
    pool5 = torch.from_numpy(features.pool(pyramid, cells, PAPER.pooling))
    head = FcHead(12800)
    head.load_state_dict(fc_initialization.from_torchvision(whole.state_dict(), inputs=12800))
    with torch.inference_mode():
        expected = whole.classifier[:6](whole.avgpool(whole.features(body.preprocessing(photo)[None])).flatten(1))
        torch.testing.assert_close(head.eval()(pool5), expected, rtol=1e-3, atol=1e-5)  # maps are in half precision
    assert expected.any()


def test_vgg_layers_give_the_same_for_a_constant_map():
    state = whole_network(channels=2, side=7)
    weight = fc_initialization.from_torchvision(state, inputs=100)["fc6.weight"]
    constant = torch.tensor([1.5, -0.5])
    ours = weight @ constant.repeat(50)
    theirs = state["classifier.0.weight"] @ constant.repeat_interleave(49)
    torch.testing.assert_close(ours, theirs, rtol=0.2, atol=0.2 * theirs.abs().max().item())


def test_imagenet_layers_ignore_larger_windows(tmp_path):
    torch.save(whole_network(2, 6), tmp_path / "alexnet.pt")
    plain = fc_initialization.build(str(tmp_path / "alexnet.pt"), 100, "alexnet")
    pooling = PoolingConfig(context=(1.5,))
    wide = fc_initialization.build(str(tmp_path / "alexnet.pt"), 2 * pooling.bins, "alexnet", pooling)
    assert torch.equal(wide.fc6.weight[:, :100], plain.fc6.weight)
    assert wide.fc6.weight.shape == (10, 128)
    assert not wide.fc6.weight[:, 100:].any()


def test_layers_come_from_files_of_either_kind(tmp_path):
    torch.save(whole_network(2, 6), tmp_path / "alexnet.pt")
    assert fc_initialization.build(str(tmp_path / "alexnet.pt"), 100, "alexnet").training
    FcHead.random(100, 10).save(tmp_path / "head.safetensors")
    head = fc_initialization.build(str(tmp_path / "head.safetensors"), 100, "zf5")
    assert torch.equal(head.fc6.weight, FcHead.random(100, 10).fc6.weight)
    with pytest.raises(ValueError, match=r"expected an fc6.weight of \(width, 50\), got \(10, 100\)"):
        fc_initialization.build(str(tmp_path / "head.safetensors"), 50, "zf5")
    with pytest.raises(ValueError, match="its fc6 reads 6 x 6 bins"):
        fc_initialization.build(str(tmp_path / "alexnet.pt"), 100, "alexnet", PoolingConfig(levels=(6, 3, 2, 1)))
    with pytest.raises(ValueError, match="zf5: no ImageNet layers are known"):
        fc_initialization.build("imagenet", 100, "zf5")


def test_imagenet_layers_are_downloaded_from_torchvisions_address(monkeypatch):
    seen = []

    def load(url, **options):
        seen.append((url, options))
        return whole_network(2, 6)

    monkeypatch.setattr(fc_initialization, "load_state_dict_from_url", load)
    head = fc_initialization.build("imagenet", 100, "alexnet")
    assert head.fc6.weight.shape == (10, 100)
    ((url, options),) = seen
    assert url.startswith("https://download.pytorch.org/models/alexnet-")
    assert options["check_hash"]
    assert options["weights_only"]


def test_a_failed_download_is_one_clear_error(monkeypatch):
    def load(url, **options):
        raise OSError("unreachable")

    monkeypatch.setattr(fc_initialization, "load_state_dict_from_url", load)
    with pytest.raises(OSError, match=r"alexnet-.*cannot be downloaded .unreachable.; start at random"):
        fc_initialization.build("imagenet", 100, "alexnet")


def test_layers_of_a_file_may_be_compressed(tmp_path):
    rng = np.random.default_rng(0)
    windows = rng.random((300, 4), np.float32) @ rng.random((4, 100), np.float32)  # of rank 4
    small = FcHead.random(100, 64).compressed([windows], 0.99)
    small.save(tmp_path / "small.safetensors")
    found = fc_initialization.build(str(tmp_path / "small.safetensors"), 100, "alexnet")
    inputs = torch.from_numpy(windows[:5])
    with torch.inference_mode():
        torch.testing.assert_close(found.eval()(inputs), small(inputs))
    beside = small.with_detectors(np.ones((3, 100), np.float32))  # a model's SVMs on pool5 are no layers
    arrays = {name: tensor.numpy() for name, tensor in beside.state_dict().items()}
    (tmp_path / "half.safetensors").write_bytes(save(to_half(arrays)))  # as in a packed model
    rounded = fc_initialization.build(str(tmp_path / "half.safetensors"), 100, "alexnet")
    assert rounded.detectors is None
    with torch.inference_mode():
        torch.testing.assert_close(rounded.eval()(inputs), small(inputs), rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match=r"expected an fc6.weight of \(width, 50\), got \(\d, 100\)"):
        fc_initialization.build(str(tmp_path / "small.safetensors"), 50, "alexnet")
