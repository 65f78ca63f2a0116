"""Layer geometry: kernel, stride and padding of each layer, and two layers that torch does not have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx, nn


@dataclass(frozen=True)
class Window:
    """Geometry of a layer: square windows of `kernel` inputs, `stride` apart, with `padding` at the borders."""

    kernel: int
    stride: int
    padding: int
    ceil_mode: bool = False

    def outputs(self, side: int) -> int:
        """Return the number of outputs along a side of `side` inputs; 0 if no window fits."""
        reach = side + 2 * self.padding - self.kernel
        if side < 1 or (reach < 0 and not self.ceil_mode):
            return 0
        if not self.ceil_mode:
            return reach // self.stride + 1
        count = -(-reach // self.stride) + 1
        # torch drops a last window that starts in the padding after the input
        return count - 1 if (count - 1) * self.stride >= side + self.padding else count


class WithinChannelLRN(nn.Module):
    """Caffe's local response normalisation within channels.

    Computes x (1 + alpha / size^2 * sum of x^2 over a size x size square)^-beta, with zeros outside the feature map.
    `nn.LocalResponseNorm` sums over channels instead. Source: Caffe's lrn_layer.cpp, WITHIN_CHANNEL.
    """

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, h, w) -> the same shape."""
        mean = nn.functional.avg_pool2d(x * x, self.size, 1, self.size // 2)  # divides by size^2 at borders too
        return x * (1 + self.alpha * mean).pow(-self.beta)


class Residual(nn.Sequential):
    """A residual block: x + layers(x). The layers must keep the shape."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the block: (N, C, h, w) -> the same shape."""
        return x + super().forward(x)


POINTWISE = (nn.ReLU, nn.ReLU6, nn.Identity, nn.BatchNorm2d, WithinChannelLRN)


def windows_of(layer: nn.Module) -> list[Window]:
    """Return the geometry of a layer, or of the layers within it in order.

    Residual connections are skipped: their cells are those of the layers they bypass.

    Raises:
        ValueError: see `window_of`.
    """
    if isinstance(layer, fx.GraphModule):
        return _graph_windows(layer)
    if isinstance(layer, nn.Sequential):
        return [window for child in layer for window in windows_of(child)]
    return [window_of(layer)]


def window_of(layer: nn.Module) -> Window:
    """Return the geometry of one layer of a backbone.

    Raises:
        ValueError: the kind of layer is unknown, or its window is not square.
    """
    if isinstance(layer, POINTWISE):
        return Window(1, 1, 0)  # cells keep their positions
    if not isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        raise ValueError(f"layer {layer}: unknown stride; use convolutions, pooling and ReLU")
    sides = [getattr(layer, name, 1) for name in ("kernel_size", "stride", "padding", "dilation")]
    pairs = [side if isinstance(side, tuple) else (side, side) for side in sides]
    if any(isinstance(side[0], str) or side[0] != side[1] for side in pairs):
        raise ValueError(f"layer {layer}: unsupported window; use square kernels and numeric padding")
    kernel, stride, padding, dilation = (int(side[0]) for side in pairs)
    return Window(dilation * (kernel - 1) + 1, stride, padding, bool(getattr(layer, "ceil_mode", False)))


def _graph_windows(module: fx.GraphModule) -> list[Window]:
    """Return the geometry of the layers on the longest path through a traced network.

    Shorter paths, such as residual connections, have the same cells. Layers that read the whole map at once end a path.
    """
    paths: dict[fx.Node, list[Window] | None] = {}
    for node in module.graph.nodes:
        before = [path for n in node.all_input_nodes if (path := paths[n]) is not None]
        path = max(before, key=len, default=None)
        layer = module.get_submodule(node.target) if node.op == "call_module" else None
        whole_map = isinstance(layer, nn.AdaptiveAvgPool2d) or node.target in _WHOLE_MAP
        if node.op == "placeholder":
            path = []
        elif whole_map:
            path = None
        elif path is not None:  # tracing keeps some Sequentials whole, such as torchvision's Conv2dNormActivation
            within = layer.modules() if isinstance(layer, nn.Sequential) else [layer]
            path = [*path, *(window_of(m) for m in within if isinstance(m, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d))]
        paths[node] = path
    return paths[next(iter(reversed(module.graph.nodes)))] or []


_WHOLE_MAP = ("mean", nn.functional.adaptive_avg_pool2d)
"""Targets of graph nodes that read the whole map."""
