"""Low-rank compression of fully connected layers."""

import numpy as np
import pytest
import torch
from torch import nn

from detection.networks.fc_head import FcHead
from detection.networks.low_rank import LowRankLinear, truncate


@pytest.fixture
def rows():
    """Pooled vectors (400, 60) that vary in 9 directions only."""
    rng = np.random.default_rng(0)
    return (rng.random((400, 9)) @ rng.random((9, 60)) + rng.random(60)).astype(np.float32)


def test_inputs_of_nine_directions_need_rank_nine_only(rows):
    layer, inputs = nn.Linear(60, 40), torch.as_tensor(rows)
    outputs = layer(inputs).detach()
    low, kept = truncate(layer, outputs, 1 - 1e-9)
    assert (low.reduce.out_features, low.in_features, low.out_features) == (9, 60, 40)
    torch.testing.assert_close(low(inputs), outputs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(kept, low(inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("energy", [0.1, 0.3, 0.6])
def test_the_lowest_rank_that_keeps_the_share_is_chosen(energy):
    torch.manual_seed(0)
    layer, inputs = nn.Linear(50, 30), torch.randn(500, 50)
    outputs = layer(inputs).detach()
    low, kept = truncate(layer, outputs, energy)
    torch.testing.assert_close(low(inputs), kept, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(kept.mean(0), outputs.mean(0), rtol=1e-3, atol=1e-4)
    share = (kept.var(0).sum() / outputs.var(0).sum()).item()
    largest = torch.linalg.svdvals(outputs - outputs.mean(0)) ** 2
    rank = low.reduce.out_features
    assert share == pytest.approx((largest[:rank].sum() / largest.sum()).item(), abs=1e-4)
    assert share >= energy > (largest[: rank - 1].sum() / largest.sum()).item()


def test_a_compressed_head_has_nearly_the_same_outputs_and_can_be_saved(rows, tmp_path):
    head = FcHead.random(60, 40)
    low = head.compressed([rows[:200], rows[200:]], 0.999)
    assert isinstance(low.fc6, LowRankLinear)
    inputs = torch.as_tensor(rows)
    with torch.inference_mode():
        exact, close = head(inputs), low(inputs)
    assert (exact - close).norm() < 0.05 * (exact - exact.mean(0)).norm()
    low.save(tmp_path / "head.safetensors")
    again = FcHead.load(tmp_path / "head.safetensors")
    with torch.inference_mode():
        assert torch.equal(again(inputs), close)
    assert again.fc6.in_features == 60
    with pytest.raises(ValueError, match="already compressed"):
        low.compressed([rows], 0.9)


def test_layers_are_kept_if_two_low_rank_ones_would_be_larger():
    head = FcHead.random(30, 20)
    same = head.compressed([np.random.default_rng(0).random((300, 30), np.float32)], 1.0)
    assert same.fc6 is head.fc6
    assert same.fc7 is head.fc7


@pytest.mark.parametrize("energy", [0.0, -1.0, 1.01, float("nan")])
def test_a_share_outside_the_unit_interval_is_refused(rows, energy):
    with pytest.raises(ValueError, match="energy: expected a share"):
        FcHead.random(60, 8).compressed([rows], energy)


def test_compression_without_windows_is_refused():
    with pytest.raises(ValueError, match="no windows"):
        FcHead.random(60, 8).compressed([], 0.9)
