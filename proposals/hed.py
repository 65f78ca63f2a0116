"""Edges by the holistically-nested network (HED): VGG-16 with an edge map read off each stage, and their fusion.

Source: Xie and Tu, Holistically-Nested Edge Detection, ICCV 2015. The weights were trained on BSDS500 by others
(`detection.weights`), for convolutions that keep the size of their input: the authors pad the photo by 35 pixels
and crop, which is left out here as there.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from detection import weights as pretrained
from detection.image import Preprocessing, as_rgb
from detection.network import resolve_device
from detection.state import assign, read_state

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of VGG-16's convolutions; before each stage but the first the map is halved."""

BGR_MEAN = Preprocessing(mean=(104.00699, 116.66877, 122.67892), bgr=True)
"""BGR in 0..255 less ImageNet's mean colour, what the weights were trained with."""


class HEDLayers(nn.Module):
    """The stages of the trunk, the side output of each, and the fusion of the side outputs."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *(channels[-1] for channels in STAGES))
        self.stages = nn.ModuleList(_stage(into, channels) for into, channels in zip(inputs, STAGES, strict=False))
        self.sides = nn.ModuleList(nn.Conv2d(channels[-1], 1, 1) for channels in STAGES)
        self.fuse = nn.Conv2d(len(STAGES), 1, 1)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Logits of an edge: float32 (B, 3, H, W), preprocessed -> (B, H, W)."""
        height, width = batch.shape[2:]
        maps = []
        for level, (stage, side) in enumerate(zip(self.stages, self.sides, strict=True)):
            batch = stage(batch)  # (B, C, ceil(H / 2^level), ceil(W / 2^level))
            # Cells are 2^level pixels wide, also where the last one reaches over the border.
            fine = functional.interpolate(side(batch), scale_factor=2**level, mode="bilinear", align_corners=False)
            maps.append(fine[:, :, :height, :width])
        return self.fuse(torch.cat(maps, 1))[:, 0]


@dataclass(frozen=True, eq=False)
class HED:
    """The network with its weights.

    Attributes:
        layers: on one device; read only.
    """

    layers: HEDLayers

    @classmethod
    def load(cls, weights: str | Path = "pretrained", device: str = "cpu") -> HED:
        """The network with pretrained weights, or with yours.

        Args:
            weights: "pretrained" (fetched on first use); a .safetensors file or one of `torch.save`.
            device: "auto", "cpu", "cuda" or "cuda:N".

        Raises:
            ValueError: weights of another network, a damaged file, no such device.
            OSError: the weights cannot be read or fetched.
        """
        target = resolve_device(device)
        with torch.device("meta"):  # no initialisation that is thrown away
            layers = HEDLayers()
        state = pretrained.load("hed") if weights == "pretrained" else read_state(Path(weights))
        assign(layers, state, "weights of HED" if weights == "pretrained" else str(weights))
        layers = layers.to(target).to(memory_format=torch.channels_last)
        return cls(layers.eval().requires_grad_(False))

    @property
    def device(self) -> torch.device:
        """Where the layers are."""
        return next(self.layers.parameters()).device

    @cached_property
    def weights_hash(self) -> str:
        """sha256 of the weights; the same on every device."""
        return pretrained.sha256_of_state(self.layers.state_dict())


@torch.no_grad()
def detect_edges(image: NDArray[np.uint8], network: HED) -> NDArray[np.float32]:
    """How strongly each pixel lies on the outline of something.

    Single precision without TF32, so that CPU and GPU agree closely, and the same on every run. It takes about a
    kilobyte of memory a pixel: downsize photos of many megapixels first.

    Args:
        image: uint8, RGB (H, W, 3) or grey (H, W), of any size.
        network: see `HED.load`.

    Returns:
        float32 (H, W), the fused output, 0 to 1; outlines are several pixels wide.

    Raises:
        ValueError: the image is not as described.
    """
    batch = BGR_MEAN(as_rgb(image))[None].to(network.device)  # (1, 3, H, W), channels-last: faster on a CPU
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        logits = network.layers(batch)[0]  # (H, W)
    return torch.sigmoid(logits).cpu().numpy()


def _stage(into: int, channels: tuple[int, ...]) -> nn.Sequential:
    """Convolutions of 3 x 3, each with its ReLU, after a halving of the map unless it is the image."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if into != 3:
        layers["pool"] = nn.MaxPool2d(2, ceil_mode=True)  # an odd last row or column is kept
    for i, out in enumerate(channels, 1):
        layers[f"conv{i}"] = nn.Conv2d(into, out, 3, padding=1)
        layers[f"relu{i}"] = nn.ReLU(inplace=True)
        into = out
    return nn.Sequential(layers)
