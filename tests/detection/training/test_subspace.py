"""A subspace of pooled windows: its basis, coordinates in it, and layers that learned in it."""

import numpy as np
import pytest
import torch

from detection.networks.fc_head import FcHead, NormalizedHead
from detection.training import subspace
from detection.training.subspace import Subspace


@pytest.fixture(autouse=True)
def single_precision(monkeypatch):
    monkeypatch.setattr(subspace, "has_bfloat16", lambda device: False)


@pytest.fixture
def windows():
    return np.random.default_rng(0).normal(1, 2, (30, 60)).astype(np.float16)


def test_the_basis_is_orthonormal_and_spans_the_windows(windows):
    space = Subspace.spanned_by(windows)
    assert space.basis.shape == (len(space), 60) == (30, 60)
    torch.testing.assert_close(space.basis @ space.basis.T, torch.eye(30), atol=1e-4, rtol=0)
    rows = torch.from_numpy(windows).float()
    torch.testing.assert_close(space.project(rows) @ space.basis, rows, atol=1e-2, rtol=0)


def test_directions_that_hardly_occur_are_left_out(windows):
    twice = np.concatenate([windows, windows[:10]])
    assert len(Subspace.spanned_by(twice)) == 30


@pytest.mark.parametrize("windows", [np.zeros((0, 60), np.float16), np.zeros((5, 60), np.float16)])
def test_windows_without_any_value_are_one_clear_error(windows):
    with pytest.raises(ValueError, match="all pooled windows are zero"):
        Subspace.spanned_by(windows)


@pytest.mark.parametrize("kind", [FcHead, NormalizedHead])
def test_expanded_layers_compute_on_pool5_what_the_layers_compute_on_coordinates(windows, kind):
    space = Subspace.spanned_by(windows)
    head = kind(len(space), 12).plain().eval()
    whole = space.expand(head)
    others = torch.from_numpy(np.random.default_rng(1).normal(1, 2, (7, 60)).astype(np.float32))
    with torch.no_grad():
        torch.testing.assert_close(whole(others), head(space.project(others)), atol=1e-3, rtol=1e-3)
    assert whole.fc6.weight.shape == (12, 60)
    assert not whole.training


def test_coordinates_in_bfloat16_are_nearly_the_same(windows, monkeypatch):
    space, rows = Subspace.spanned_by(windows), torch.from_numpy(windows).float()
    exact = space.project(rows)
    monkeypatch.setattr(subspace, "has_bfloat16", lambda device: True)
    rounded = Subspace(space.basis).project(rows)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() < 0.01 * exact.norm()


def test_the_digest_tells_bases_apart(windows):
    a, b = Subspace.spanned_by(windows), Subspace.spanned_by(windows[1:])
    assert a.digest == Subspace(a.basis.clone()).digest != b.digest
