import numpy as np
import pytest
import torch
from torch import nn

from detection.networks.geometry import Window, WithinChannelLRN, window_of
from tests.reference.lrn import within_channel_lrn


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 0), (3, 2, 1), (2, 2, 1), (2, 3, 0), (5, 3, 2)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_window_counts_outputs_as_torch_does(kernel, stride, padding, ceil_mode):
    pool = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    window = window_of(pool)
    assert window == Window(kernel, stride, padding, ceil_mode)
    for side in range(kernel, 40):
        assert window.outputs(side) == pool(torch.zeros(1, side, kernel)).shape[1]


def test_a_dilated_convolution_has_a_larger_kernel():
    assert window_of(nn.Conv2d(1, 1, 3, dilation=2)) == Window(5, 1, 0)


@pytest.mark.parametrize("layer", [nn.Conv2d(1, 1, (3, 5)), nn.Upsample(2), nn.Conv2d(1, 1, 3, padding="same")])
def test_layers_of_unknown_geometry_are_refused(layer):
    with pytest.raises(ValueError, match="layer "):
        window_of(layer)


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("shape", [(2, 1, 1), (3, 4, 6)])
def test_within_channel_normalisation_agrees_with_caffes_definition(size, shape):
    x = np.random.default_rng(0).normal(0, 50, shape).astype(np.float32)
    got = WithinChannelLRN(size, 5e-2, 0.75)(torch.from_numpy(x)[None])[0]
    np.testing.assert_allclose(got, within_channel_lrn(x, size, 5e-2, 0.75), rtol=1e-5)
