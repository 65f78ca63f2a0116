"""Backbones: the convolutions, which run once per image.

The geometry of the feature map is computed from the layers: cell i is centred on pixel `center + i * stride` of the
image.
"""

from __future__ import annotations

import copy
import logging
import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detection.config import Precision
from detection.image import Preprocessing
from detection.networks import library
from detection.networks.bfloat16 import autocast, has_bfloat16
from detection.networks.built_in import NETWORKS
from detection.networks.fc_head import FcHead as FcHead
from detection.networks.geometry import Window, windows_of
from detection.weights import pretrained
from detection.weights.state_dict import State, assign, read_state

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ConvBody:
    """A backbone: the layers up to and including the last convolution's ReLU, with their geometry and preprocessing.

    Attributes:
        name: name of the network.
        layers: the layers, all on one device; read only.
        preprocessing: conversion of uint8 RGB images to the input of the first layer.
        prefix: prefix of the tensor names in files.
        precision: "fp32", or "bf16" for bfloat16 products with float32 sums. "bf16" is at least twice as fast on
            processors and GPUs with bfloat16 arithmetic and changes feature maps by about 1 %. On other devices, it
            means "fp32".
    """

    name: str
    layers: nn.Module
    preprocessing: Preprocessing
    prefix: str = ""
    precision: Precision = "fp32"

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The geometry of each layer, in order, with nested layers flattened."""
        return tuple(windows_of(self.layers))

    @cached_property
    def stride(self) -> int:
        """Pixels between the centres of neighbouring cells."""
        return math.prod(w.stride for w in self.windows)

    @cached_property
    def center(self) -> float:
        """The 0-based pixel coordinate of the centre of cell 0's receptive field."""
        center, step = 0.0, 1
        for w in self.windows:
            center += step * ((w.kernel - 1) / 2 - w.padding)
            step *= w.stride
        return center

    @cached_property
    def channels(self) -> int:
        """Channels of the feature maps."""
        with torch.inference_mode():  # runs the smallest image, since the meta device needs seconds of imports
            return self.layers(torch.zeros(1, 3, self.min_input, self.min_input, device=self.device)).shape[1]

    @cached_property
    def min_input(self) -> int:
        """The smallest image side in pixels that gives one cell."""
        side = 1
        while self._outputs(side) < 1:
            side += 1
        return side

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 of the weights; the same on every device."""
        return pretrained.sha256_of_state(self.state_dict())

    @property
    def device(self) -> torch.device:
        """The device of the layers."""
        return next(self.layers.parameters()).device

    def map_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Compute the size (h, w) of the feature map of an image of (H, W) pixels, without running the layers.

        Raises:
            ValueError: a side of the image is shorter than `min_input`.
        """
        height, width = image_size
        if min(image_size) < self.min_input:
            raise ValueError(
                f"image of {height} x {width} pixels: {self.name} needs sides of {self.min_input} or more; "
                "use larger scales"
            )
        return self._outputs(height), self._outputs(width)

    def check_geometry(self) -> None:
        """Check that the computed sizes of feature maps are those the layers give.

        Raises:
            ValueError: they differ, for example because the padding depends on the image size.
        """
        layers = copy.deepcopy(self.layers).to("meta")  # shapes only, without arithmetic
        for size in ((512, 512), (495, 333), (500, 362)):
            got = tuple(layers(torch.zeros(1, 3, *size, device="meta")).shape[2:])
            expected = self.map_size(size)
            if got != expected:
                raise ValueError(
                    f"network: {self.name}: an image of {size} pixels has {got} cells, expected {expected} from its "
                    "layers; the positions of its cells are unknown, choose another network"
                )

    def _outputs(self, side: int) -> int:
        for w in self.windows:
            side = w.outputs(side)
        return side

    @torch.no_grad()
    def conv5(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Compute the feature map of one image.

        The result is deterministic. Single precision is used without TF32, so that CPU and GPU agree closely.

        Args:
            image: uint8 RGB (H, W, 3), already resized.

        Returns:
            float32 (C, h, w), >= 0, on the device of the layers; on the CPU in channels-last memory.

        Raises:
            ValueError: a side of the image is shorter than `min_input`.
        """
        self.map_size((image.shape[0], image.shape[1]))
        batch = self.preprocessing(image)[None].to(self.device)  # (1, 3, H, W); channels-last is twice as fast on a CPU
        products = autocast(self.device, self.precision == "bf16")
        with products, torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            return self.layers(batch)[0].float()  # (C, h, w)

    def to(self, device: str | torch.device) -> ConvBody:
        """Move the layers in place, as torch does.

        Args:
            device: "auto", "cpu", "cuda" or "cuda:N".

        Raises:
            ValueError: there is no such device.
        """
        self.layers.to(resolve_device(device))
        return self

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the tensors by their names in files."""
        return {self.prefix + name: tensor for name, tensor in self.layers.state_dict().items()}


def build(
    name: str, weights: str | Path | None = "pretrained", device: str = "cpu", precision: Precision = "fp32"
) -> ConvBody:
    """Build a backbone by name.

    Args:
        name: one of `NETWORKS` ("alexnet", "vgg16", "zf5", ...), or "torchvision:NAME" or "timm:NAME" for a network of
            these libraries.
        weights: "pretrained", downloaded on first use; or a .safetensors file or a state dict written by `torch.save`;
            or None for random weights.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "fp32" or "bf16"; see `ConvBody`.

    Raises:
        ValueError: the name is unknown, the weights are damaged or of another network, or there is no such device.
        OSError: the weights cannot be read or downloaded.
    """
    target = resolve_device(device)
    if precision == "bf16" and not has_bfloat16(target):
        log.info("%s: this device has no fast bfloat16; using single precision (maps differ by 1 %%)", name)
    if library.split(name):
        return replace(_library_body(name, weights), precision=precision).to(target)
    if name not in NETWORKS:
        raise ValueError(f"network: expected one of {', '.join(NETWORKS)}, torchvision:NAME or timm:NAME, got {name!r}")
    if weights == "pretrained" and name not in pretrained.CHECKPOINTS:
        raise ValueError(f"{name}: no pretrained weights are available; give a file with --weights FILE")
    if weights == "pretrained":
        state: State | None = pretrained.load(name)
    else:
        state = None if weights is None else read_state(Path(weights))
    return replace(assemble(name, state), precision=precision).to(target)


def assemble(name: str, state: State | None = None, seed: int = 0) -> ConvBody:
    """Build a backbone with the given weights on the CPU.

    Args:
        name: one of `NETWORKS`.
        state: tensors by their names in files; tensors of later layers are ignored. None for random weights.
        seed: random seed of random weights.

    Raises:
        ValueError: tensors are missing, unexpected or of another shape.
    """
    entry = NETWORKS[name]
    with torch.device("meta"):  # without memory and initialisation
        layers = entry.layers()
    if state is None:
        state = _random_state(layers, seed)
    else:
        state = {k.removeprefix(entry.prefix): t for k, t in state.items() if not k.startswith(entry.beyond)}
    assign(layers, state, f"weights of {name}")
    return ConvBody(name, _frozen(layers), entry.preprocessing, entry.prefix)


def _library_body(name: str, weights: str | Path | None) -> ConvBody:
    """Build a backbone of torchvision or timm."""
    layers, preprocessing = library.build(name, weights == "pretrained")
    if weights not in ("pretrained", None):
        state, mine = read_state(Path(str(weights))), layers.state_dict()
        assign(layers, {k: t for k, t in state.items() if k in mine}, f"weights of {name}")
    body = ConvBody(name, _frozen(layers), preprocessing)
    body.check_geometry()
    return body


def _frozen(layers: nn.Module) -> nn.Module:
    """Prepare layers for inference, in channels-last memory."""
    return layers.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def resolve_device(device: str | torch.device) -> torch.device:
    """Convert a device name to a torch device.

    Args:
        device: "cpu", "cuda" or "cuda:N", or "auto" for CUDA if available and the CPU otherwise.

    Raises:
        ValueError: the name is invalid, or there is no such device. A missing CUDA device never falls back to the CPU.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        found = torch.device("meta")
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"device: expected auto, cpu, cuda or cuda:N, got {device!s}")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device: {device!s} is not available, torch finds {torch.cuda.device_count()} CUDA devices; "
            "use cpu or auto"
        )
    return found


def _random_state(layers: nn.Sequential, seed: int) -> dict[str, torch.Tensor]:
    """Return weights of He's initialisation and zero biases, from a generator with its own seed."""
    generator = torch.Generator().manual_seed(seed)
    layers = copy.deepcopy(layers).to_empty(device="cpu")
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return layers.state_dict()
