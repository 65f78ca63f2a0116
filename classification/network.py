"""Convolutions, spatial pyramid pooling, fc6, fc7 and a softmax layer: paper, section 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from classification.config import CROP, NO_PYRAMID
from detection import network
from detection.network import ConvBody
from detection.networks.fc_head import FcHead, NormalizedHead

NEW_LAYER_STD = 0.01  # of the softmax layer's initial weights
PIXEL_STD = 64.0  # of the pixels of photos, in 0..255


class SPPNet(nn.Module):
    """A classifier of photos of any size.

    Args:
        body: the convolutions; its layers become part of this module.
        head: fc6 and fc7, for pooled vectors of this body and pyramid.
        n_classes: K.
        levels: bins a side of the pyramid, in the order of fc6's columns.
        fixed_size: side in pixels of the only input that is taken, of a network without SPP; None: any size.

    Raises:
        ValueError: the head takes vectors of another length.
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
            raise ValueError(f"head: takes vectors of {head.fc6.in_features}, the pyramid gives {self.pooled_length}")

    @property
    def pooled_length(self) -> int:
        """Length of a pooled vector."""
        return pooled_length(self.body, self.levels)

    @property
    def device(self) -> torch.device:
        """Where the layers are."""
        return self.fc8.weight.device

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of images of one size, as the body's preprocessing gives them: float32 (N, 3, H, W) -> (N, K).

        Raises:
            ValueError: the images are too small, or not of the one size that a network without SPP takes.
        """
        self.check(images.shape[-2:])
        logits: torch.Tensor = self.fc8(self.head(pool_whole(self.convolutions(images), self.levels)))
        return logits

    def check(self, size: Sequence[int]) -> None:
        """Whether an image of (H, W) pixels is of a size that the network takes.

        Raises:
            ValueError: it is not.
        """
        check_fixed_size((size[0], size[1]), self.fixed_size)
        self.body.map_size((size[0], size[1]))

    def freeze(self) -> SPPNet:
        """Leave the convolutions as they are: they get no gradient, and their statistics stay."""
        self.convolutions.requires_grad_(False)
        return self

    @property
    def frozen(self) -> bool:
        """Whether the convolutions are."""
        return not any(p.requires_grad for p in self.convolutions.parameters())

    def train(self, mode: bool = True) -> SPPNet:
        """As torch's; frozen convolutions stay in evaluation."""
        super().train(mode)
        if self.frozen:
            self.convolutions.eval()
        return self


def check_fixed_size(size: tuple[int, int], fixed_size: int | None) -> None:
    """Whether an image of (H, W) pixels is of the one size that a network without SPP takes; any is, of one with SPP.

    Raises:
        ValueError: it is not.
    """
    if fixed_size and size != (fixed_size, fixed_size):
        raise ValueError(
            f"image of {size[0]} x {size[1]} pixels: a network without spatial pyramid pooling takes only "
            f"{fixed_size} x {fixed_size}; take the crop or ten view, or a network with a pyramid"
        )


def pooled_length(body: ConvBody, levels: Sequence[int]) -> int:
    """Length of the pooled vector of a photo."""
    return body.channels * sum(n * n for n in levels)


def pool_whole(maps: torch.Tensor, levels: Sequence[int]) -> torch.Tensor:
    """The pyramid over whole maps: (N, C, h, w) -> (N, C * sum(n * n)), by level, row, column, channel.

    Bin i of n over h cells covers cells floor(i h / n) to ceil((i + 1) h / n) - 1 (appendix), which is torch's
    adaptive pooling. The windows and strides of section 2.3 are the same for 13 cells, but give 9 x 9 instead of 6 x 6
    bins for the 10 cells of a 180-pixel image. The order is that of `spp.pyramid_pool` with channels last.
    """
    bins = [nn.functional.adaptive_max_pool2d(maps, n) for n in levels]  # (N, C, n, n) each
    return torch.cat([b.permute(0, 2, 3, 1).flatten(1) for b in bins], dim=1)


def random_body(name: str, seed: int) -> ConvBody:
    """A body to train from scratch: He's start, for inputs of unit spread.

    Raises:
        ValueError: it is not a body that is built in.
    """
    if name not in network.NETWORKS:
        raise ValueError(f"{name}: training from scratch knows {', '.join(network.NETWORKS)}; or start pretrained")
    body = network.assemble(name, seed=seed)
    seen = body.preprocessing
    body.layers.requires_grad_(True)
    return replace(body, preprocessing=replace(seen, std=(PIXEL_STD * seen.scale,) * 3))


def build(
    body: ConvBody, n_classes: int, levels: Sequence[int] | None, width: int = 4096, seed: int = 0, norm: bool = True
) -> SPPNet:
    """A network to train on a body, its new layers random, the same for a seed.

    Args:
        body: random or pretrained; `SPPNet.freeze` keeps it as it is.
        n_classes: K.
        levels: of the pyramid; None: a network without one, for images of `CROP` pixels a side.
        width: of fc6 and fc7.
        seed: of the new layers.
        norm: batch normalisation before their ReLUs while they are trained; it is folded into them afterwards.
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
