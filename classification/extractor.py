"""What a photo becomes in the network: conv4, conv5, the pyramid and its finest level, fc6, fc7."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from classification.config import LAYERS, Layer
from classification.network import SPPNet, check_fixed_size, pool_whole
from detection.network import ConvBody
from detection.networks.built_in import NETWORKS
from detection.networks.fc_head import FcHead

FINEST = 6  # bins a side of "6x6"


@dataclass(frozen=True, eq=False)
class Extractor:
    """The layers of a network, for inference.

    Attributes:
        body: the convolutions.
        levels: bins a side of the pyramid, in the order of fc6's columns.
        head: fc6 and fc7 on the body's device; None for a network that has none.
        fixed_size: side in pixels of the only image that a network without SPP takes, or None.
    """

    body: ConvBody
    levels: tuple[int, ...] = (1, 2, 3, 6)
    head: FcHead | None = None
    fixed_size: int | None = None

    @classmethod
    def of(cls, net: SPPNet) -> Extractor:
        """The layers of a trained network, on the CPU, with the normalisation of fc6 and fc7 folded into them."""
        net = net.cpu().eval().requires_grad_(False)
        return cls(replace(net.body, layers=net.convolutions), net.levels, net.head.plain(), net.fixed_size)

    def check(self, layer: str) -> None:
        """Whether the network has a layer.

        Raises:
            ValueError: it has not.
        """
        if layer not in LAYERS:
            raise ValueError(f"layer: expected one of {', '.join(LAYERS)}, got {layer!r}")
        if layer in ("fc6", "fc7") and self.head is None:
            raise ValueError(f"{layer}: {self.body.name} has no fully connected layers; train some, or take spp")
        if layer == "conv4" and self._conv4 is None:
            raise ValueError(f"conv4: {self.body.name} is not of five convolutions; take conv5, its last map")

    def vectors(self, image: NDArray[np.uint8], layers: Iterable[Layer]) -> dict[Layer, torch.Tensor]:
        """What some layers say about an image as it is.

        Args:
            image: uint8 RGB (H, W, 3), resized as wanted.
            layers: "conv4" or "conv5", after their ReLU, all cells one after another: the length depends on the size of
                the image; "6x6" or "spp", the finest level of the pyramid or all of it; "fc6", "fc7", after their ReLU.

        Returns:
            layer -> float32 (D,).

        Raises:
            ValueError: the network has no such layer, or the image is of a size that it does not take.
        """
        for layer in layers:
            self.check(layer)
        conv5: torch.Tensor | None = None
        found: dict[Layer, torch.Tensor] = {}
        for layer in layers:
            if layer == "conv4":
                assert self._conv4 is not None
                found[layer] = self._conv4.conv5(image).flatten()
                continue
            conv5 = self.map(image) if conv5 is None else conv5
            if layer == "conv5":
                found[layer] = conv5.flatten()
            else:
                found[layer] = self.from_pooled(pool_whole(conv5[None], self.pooled_levels(layer)), layer)[0]
        return found

    def map(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """conv5 of an image: uint8 RGB (H, W, 3) -> float32 (C, h, w).

        Raises:
            ValueError: the image is of a size that the network does not take.
        """
        check_fixed_size((image.shape[0], image.shape[1]), self.fixed_size)
        return self.body.conv5(image)

    def pooled_levels(self, layer: Layer) -> tuple[int, ...]:
        """Levels that a layer after conv5 is made of."""
        return (FINEST,) if layer == "6x6" else self.levels

    @torch.inference_mode()
    def from_pooled(self, pooled: torch.Tensor, layer: Layer) -> torch.Tensor:
        """What a layer after pooling says, of vectors of its levels: float32 (N, C * sum(n * n)) -> (N, D)."""
        if layer in ("6x6", "spp"):
            return pooled
        assert self.head is not None
        features: torch.Tensor = self.head(pooled, layer)
        return features

    @cached_property
    def _conv4(self) -> ConvBody | None:
        """The body up to conv4."""
        name = NETWORKS[self.body.name].conv4 if self.body.name in NETWORKS else ""
        if not name:
            return None
        children = dict(self.body.layers.named_children())
        return replace(self.body, layers=nn.Sequential(*_until(children, name)))


def _until(children: dict[str, nn.Module], last: str) -> Sequence[nn.Module]:
    """The first of named layers, up to and with `last`."""
    names = list(children)
    return [children[name] for name in names[: names.index(last) + 1]]
