"""Checkpoints of gradient descent."""

import pytest
import torch

from detection.training import checkpoint
from tests.damage import flip_bits, without_checksum


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "folder" / "training.pt"
    checkpoint.save(path, "key", iteration=3, net={"weight": torch.arange(2000.0)})
    return path


def test_a_checkpoint_is_read_as_it_was_saved(saved):
    state = checkpoint.load(saved, "key")
    assert state["iteration"] == 3
    assert torch.equal(state["net"]["weight"], torch.arange(2000.0))
    assert checkpoint.load(saved.with_name("absent.pt"), "key") is None


@pytest.mark.parametrize("seed", range(20))
def test_a_checkpoint_with_flipped_bits_is_told_and_not_used(saved, caplog, seed):
    flip_bits(saved, seed=seed)
    assert checkpoint.load(saved, "key") is None
    (line,) = caplog.messages
    assert line.startswith(f"{saved} is damaged (")
    assert line.endswith("); starting from the beginning")


def test_a_checkpoint_without_checksum_is_told_and_not_used(saved, caplog):
    without_checksum(saved)
    torch.load(saved, weights_only=True)  # as earlier versions wrote it
    assert checkpoint.load(saved, "key") is None
    why = "no checksum: torn, or from an earlier version"
    assert caplog.messages == [f"{saved} is damaged ({why}); starting from the beginning"]
