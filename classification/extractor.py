"""Outputs of a network's layers for a photo: conv4, conv5, the pyramid and its finest level, fc6, fc7."""

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

FINEST = 6  # bins per side of "6x6"


@dataclass(frozen=True, eq=False)
class Extractor:
    """A network for inference, with access to the outputs of its layers.

    Attributes:
        body: the convolutions.
        levels: bins per side of each pyramid level, in the order of fc6's columns.
        head: fc6 and fc7, on the body's device; None if the network has none.
        fixed_size: side in pixels of the only input size that a network without SPP accepts; None: any size.
    """

    body: ConvBody
    levels: tuple[int, ...] = (1, 2, 3, 6)
    head: FcHead | None = None
    fixed_size: int | None = None

    @classmethod
    def of(cls, net: SPPNet) -> Extractor:
        """Convert a trained network: on the CPU, with the batch normalisation of fc6 and fc7 folded into them."""
        net = net.cpu().eval().requires_grad_(False)
        return cls(replace(net.body, layers=net.convolutions), net.levels, net.head.plain(), net.fixed_size)

    def check(self, layer: str) -> None:
        """Check that the network has a layer.

        Raises:
            ValueError: the network has no such layer.
        """
        if layer not in LAYERS:
            raise ValueError(f"layer: expected one of {', '.join(LAYERS)}, got {layer!r}")
        if layer in ("fc6", "fc7") and self.head is None:
            raise ValueError(
                f"{layer}: {self.body.name} has no fully connected layers; use spp, or a network with fc6 and fc7"
            )
        if layer == "conv4" and self._conv4 is None:
            raise ValueError(
                f"conv4: {self.body.name} does not have five convolution stages; use conv5, its last feature map"
            )

    def vectors(self, image: NDArray[np.uint8], layers: Iterable[Layer]) -> dict[Layer, torch.Tensor]:
        """Compute the outputs of some layers for an image, without resizing it.

        Args:
            image: uint8 RGB (H, W, 3).
            layers: names of layers. "conv4" and "conv5" are feature maps after ReLU, flattened, so their length depends
                on the size of the image. "6x6" is the finest level of the pyramid, "spp" the whole pyramid. "fc6" and
                "fc7" are taken after ReLU.

        Returns:
            One float32 (D,) tensor per layer.

        Raises:
            ValueError: the network has no such layer, or does not accept images of this size.
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
        """Compute the conv5 map of an image: uint8 RGB (H, W, 3) -> float32 (C, h, w).

        Raises:
            ValueError: the network does not accept images of this size.
        """
        check_fixed_size((image.shape[0], image.shape[1]), self.fixed_size)
        return self.body.conv5(image)

    def pooled_levels(self, layer: Layer) -> tuple[int, ...]:
        """Return the pyramid levels, in bins per side, that a layer after conv5 is computed from."""
        return (FINEST,) if layer == "6x6" else self.levels

    @torch.inference_mode()
    def from_pooled(self, pooled: torch.Tensor, layer: Layer) -> torch.Tensor:
        """Compute a layer after pooling from vectors pooled over its levels: float32 (N, C * sum(n * n)) -> (N, D)."""
        if layer in ("6x6", "spp"):
            return pooled
        assert self.head is not None
        features: torch.Tensor = self.head(pooled, layer)
        return features

    @cached_property
    def _conv4(self) -> ConvBody | None:
        """The convolutions up to and including conv4, or None if the network has no such layer."""
        name = NETWORKS[self.body.name].conv4 if self.body.name in NETWORKS else ""
        if not name:
            return None
        children = dict(self.body.layers.named_children())
        return replace(self.body, layers=nn.Sequential(*_until(children, name)))


def _until(children: dict[str, nn.Module], last: str) -> Sequence[nn.Module]:
    """Return the named layers up to and including `last`."""
    names = list(children)
    return [children[name] for name in names[: names.index(last) + 1]]
