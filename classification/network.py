"""The network: convolutions, spatial pyramid pooling, fc6, fc7 and a softmax layer (paper, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from classification.config import CROP, NO_PYRAMID
from detection import network
from detection.network import ConvBody
from detection.networks.fc_head import FcHead, NormalizedHead

NEW_LAYER_STD = 0.01  # standard deviation of the softmax layer's initial weights
PIXEL_STD = 64.0  # approximate standard deviation of the pixels of photos, in 0..255


class SPPNet(nn.Module):
    """Network that classifies photos of any size.

    Args:
        body: the convolutions; its layers become part of this module.
        head: fc6 and fc7, for vectors pooled by this body and pyramid.
        n_classes: K, number of classes.
        levels: bins per side of each pyramid level, in the order of fc6's columns.
        fixed_size: side in pixels of the only input size that a network without SPP accepts; None: any size.

    Raises:
        ValueError: the head expects vectors of another length.
    """

    def __init__(
        self, body: ConvBody, head: FcHead, n_classes: int, levels: Sequence[int], fixed_size: int | None = None
    ) -> None:
        super().__init__()
        self.body, self.levels, self.fixed_size = body, tuple(levels), fixed_size
        self.convolutions, self.head = body.layers, head
        self.fc8 = nn.Linear(head.fc7.out_features, n_classes)
        nn.init.normal_(self.fc8.weight, std=NEW_LAYER_STD)
        nn.init.zeros_(self.fc8.bias)
        if head.fc6.in_features != self.pooled_length:
            raise ValueError(
                f"head: expected one for pooled vectors of length {self.pooled_length}, got {head.fc6.in_features}"
            )

    @property
    def pooled_length(self) -> int:
        """Length of the pooled vector of a photo."""
        return pooled_length(self.body, self.levels)

    @property
    def device(self) -> torch.device:
        """Device of the layers."""
        return self.fc8.weight.device

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute logits of preprocessed images of one size: float32 (N, 3, H, W) -> (N, K).

        Raises:
            ValueError: the images are too small, or not of the fixed size of a network without SPP.
        """
        self.check(images.shape[-2:])
        logits: torch.Tensor = self.fc8(self.head(pool_whole(self.convolutions(images), self.levels)))
        return logits

    def check(self, size: Sequence[int]) -> None:
        """Check that the network accepts images of (H, W) pixels.

        Raises:
            ValueError: the images are too small, or not of the fixed size of a network without SPP.
        """
        check_fixed_size((size[0], size[1]), self.fixed_size)
        self.body.map_size((size[0], size[1]))

    def freeze(self) -> SPPNet:
        """Exclude the convolutions from training: no gradients, and batch statistics stay fixed."""
        self.convolutions.requires_grad_(False)
        return self

    @property
    def frozen(self) -> bool:
        """Whether the convolutions are excluded from training."""
        return not any(p.requires_grad for p in self.convolutions.parameters())

    def train(self, mode: bool = True) -> SPPNet:
        """Set the mode as `nn.Module.train` does; frozen convolutions stay in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.convolutions.eval()
        return self


def check_fixed_size(size: tuple[int, int], fixed_size: int | None) -> None:
    """Check that an image of (H, W) pixels has the fixed size of a network without SPP; None accepts any size.

    Raises:
        ValueError: the image has another size.
    """
    if fixed_size and size != (fixed_size, fixed_size):
        raise ValueError(
            f"image of {size[0]} x {size[1]} pixels: a network without spatial pyramid pooling accepts only "
            f"{fixed_size} x {fixed_size}; use the crop or ten view, or a network with a pyramid"
        )


def pooled_length(body: ConvBody, levels: Sequence[int]) -> int:
    """Return the length of the pooled vector of a photo."""
    return body.channels * sum(n * n for n in levels)


def pool_whole(maps: torch.Tensor, levels: Sequence[int]) -> torch.Tensor:
    """Pool whole feature maps over the pyramid: (N, C, h, w) -> (N, C * sum(n * n)).

    The order is level, row, column, channel, as in `spp.pyramid_pool` with channels last. Bin i of n over h cells
    covers cells floor(i h / n) to ceil((i + 1) h / n) - 1 (appendix), which is torch's adaptive pooling. The windows
    and strides of section 2.3 give the same bins for 13 cells, but 9 x 9 instead of 6 x 6 bins for the 10 cells of a
    180-pixel image.
    """
    bins = [nn.functional.adaptive_max_pool2d(maps, n) for n in levels]  # (N, C, n, n) each
    return torch.cat([b.permute(0, 2, 3, 1).flatten(1) for b in bins], dim=1)


def random_body(name: str, seed: int) -> ConvBody:
    """Build randomly initialised convolutions (He et al. 2015) for training from scratch.

    Their preprocessing divides pixels by `PIXEL_STD`, so that inputs have about unit variance.

    Raises:
        ValueError: `name` is not a built-in network.
    """
    if name not in network.NETWORKS:
        names = ", ".join(network.NETWORKS)
        raise ValueError(
            f"{name}: cannot be trained from scratch; use one of {names}, or start from pretrained convolutions"
        )
    body = network.assemble(name, seed=seed)
    seen = body.preprocessing
    body.layers.requires_grad_(True)
    return replace(body, preprocessing=replace(seen, std=(PIXEL_STD * seen.scale,) * 3))


def build(
    body: ConvBody, n_classes: int, levels: Sequence[int] | None, width: int = 4096, seed: int = 0, norm: bool = True
) -> SPPNet:
    """Build a network for training: the given convolutions, and new layers initialised at random.

    Args:
        body: random or pretrained convolutions; `SPPNet.freeze` excludes them from training.
        n_classes: K, number of classes.
        levels: bins per side of each pyramid level; None: no pyramid, for images of `CROP` x `CROP` pixels only.
        width: number of outputs of fc6 and of fc7.
        seed: random seed of the new layers.
        norm: whether fc6 and fc7 have batch normalisation before their ReLUs during training. It is folded into them
            afterwards.
    """
    used = tuple(levels or NO_PYRAMID)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = (NormalizedHead if norm else FcHead)(pooled_length(body, used), width)
        if not norm:
            for layer in (m for m in head.modules() if isinstance(m, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        return SPPNet(body, head, n_classes, used, None if levels else CROP)
