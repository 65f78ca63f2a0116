"""Single layers: what a layer reads of the one below it, and the normalisation torch lacks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Window:
    """What one layer reads: squares of `kernel` pixels, every `stride`, on a border of `padding`."""

    kernel: int
    stride: int
    padding: int
    ceil_mode: bool = False

    def outputs(self, side: int) -> int:
        """Outputs along a side of so many inputs; 0 where not even one fits."""
        reach = side + 2 * self.padding - self.kernel
        if side < 1 or (reach < 0 and not self.ceil_mode):
            return 0
        if not self.ceil_mode:
            return reach // self.stride + 1
        count = -(-reach // self.stride) + 1
        # a last window that starts in the border beyond the image is dropped
        return count - 1 if (count - 1) * self.stride >= side + self.padding else count


class WithinChannelLRN(nn.Module):
    """x (1 + alpha / size^2 * sum of x^2 over a size x size square)^-beta, zeros outside the map.

    `nn.LocalResponseNorm` sums over channels instead. Source: Caffe's lrn_layer.cpp, WITHIN_CHANNEL.
    """

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) -> the same shape."""
        mean = nn.functional.avg_pool2d(x * x, self.size, 1, self.size // 2)  # divides by size^2 at borders too
        return x * (1 + self.alpha * mean).pow(-self.beta)


def window_of(layer: nn.Module) -> Window:
    """What a layer of a convolution body reads.

    Raises:
        ValueError: a kind of layer, or a shape of window, whose geometry is not known.
    """
    if isinstance(layer, nn.ReLU | WithinChannelLRN | nn.Identity):
        return Window(1, 1, 0)  # a cell stays where it is
    if not isinstance(layer, nn.Conv2d | nn.MaxPool2d):
        raise ValueError(f"layer {layer}: its stride is not known; use convolutions, max pooling and ReLU")
    sides = [getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation")]
    pairs = [side if isinstance(side, tuple) else (side, side) for side in sides]
    if any(isinstance(side[0], str) or side[0] != side[1] for side in pairs):
        raise ValueError(f"layer {layer}: only square windows with numeric padding are supported")
    kernel, stride, padding, dilation = (int(side[0]) for side in pairs)
    return Window(dilation * (kernel - 1) + 1, stride, padding, bool(getattr(layer, "ceil_mode", False)))
