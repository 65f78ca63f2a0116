"""Convolution bodies: the part of a network that runs once an image.

Where the cells of its map lie is walked from the layers, never written down: cell i is centred on pixel
`center + i * stride` of the image.
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
    """The layers up to and including the last convolution's ReLU, and what is to be known about them.

    Attributes:
        name: of the network.
        layers: on one device; read only.
        preprocessing: from uint8 RGB to what the first layer expects.
        prefix: of its tensors' names in files.
        precision: "fp32", or "bf16" for products of bfloat16 summed in single precision, where the processor or GPU
            has them twice as fast or more; maps then differ by about 1 %. Elsewhere both are single precision.
    """

    name: str
    layers: nn.Module
    preprocessing: Preprocessing
    prefix: str = ""
    precision: Precision = "fp32"

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """What each layer reads, in order; layers within layers one by one."""
        return tuple(windows_of(self.layers))

    @cached_property
    def stride(self) -> int:
        """Pixels between neighbouring cells."""
        return math.prod(w.stride for w in self.windows)

    @cached_property
    def center(self) -> float:
        """0-based pixel at the centre of cell 0's receptive field."""
        center, step = 0.0, 1
        for w in self.windows:
            center += step * ((w.kernel - 1) / 2 - w.padding)
            step *= w.stride
        return center

    @cached_property
    def channels(self) -> int:
        """Of the maps."""
        with torch.inference_mode():  # of the smallest image; without arithmetic it would take seconds of imports
            return self.layers(torch.zeros(1, 3, self.min_input, self.min_input, device=self.device)).shape[1]

    @cached_property
    def min_input(self) -> int:
        """The shortest image side in pixels that has a cell."""
        side = 1
        while self._outputs(side) < 1:
            side += 1
        return side

    @cached_property
    def weights_hash(self) -> str:
        """sha256 of the weights; the same on every device."""
        return pretrained.sha256_of_state(self.state_dict())

    @property
    def device(self) -> torch.device:
        """Where the layers are."""
        return next(self.layers.parameters()).device

    def map_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the map of an image of (H, W) pixels, without running the layers.

        Raises:
            ValueError: the image is shorter than `min_input`.
        """
        height, width = image_size
        if min(image_size) < self.min_input:
            raise ValueError(
                f"image of {height} x {width} pixels: {self.name} needs sides of {self.min_input} or more; "
                "use larger scales"
            )
        return self._outputs(height), self._outputs(width)

    def check_geometry(self) -> None:
        """Compare the sizes that the layers' windows give with those that the layers give.

        Raises:
            ValueError: they differ, as with padding that depends on the image's size.
        """
        layers = copy.deepcopy(self.layers).to("meta")  # no arithmetic
        for size in ((512, 512), (495, 333), (500, 362)):
            got = tuple(layers(torch.zeros(1, 3, *size, device="meta")).shape[2:])
            expected = self.map_size(size)
            if got != expected:
                raise ValueError(
                    f"network: {self.name}: an image of {size} pixels has {got} cells, its layers tell {expected}; "
                    "where its cells lie is not known, choose another network"
                )

    def _outputs(self, side: int) -> int:
        for w in self.windows:
            side = w.outputs(side)
        return side

    @torch.no_grad()
    def conv5(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """The map of one image.

        The same on every run. In single precision without TF32, so that CPU and GPU agree closely.

        Args:
            image: uint8 RGB (H, W, 3), resized as wanted.

        Returns:
            float32 (C, h, w) on the body's device, >= 0; on the CPU its memory is channels-last.

        Raises:
            ValueError: the image is shorter than `min_input`.
        """
        self.map_size((image.shape[0], image.shape[1]))
        batch = self.preprocessing(image)[None].to(self.device)  # (1, 3, H, W), channels-last: twice as fast on a CPU
        products = autocast(self.device, self.precision == "bf16")
        with products, torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            return self.layers(batch)[0].float()  # (C, h, w)

    def to(self, device: str | torch.device) -> ConvBody:
        """Move the layers, in place as torch does; "auto", "cpu", "cuda" or "cuda:N".

        Raises:
            ValueError: there is no such device.
        """
        self.layers.to(resolve_device(device))
        return self

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Tensors under their names in files."""
        return {self.prefix + name: tensor for name, tensor in self.layers.state_dict().items()}


def build(
    name: str, weights: str | Path | None = "pretrained", device: str = "cpu", precision: Precision = "fp32"
) -> ConvBody:
    """A body by name.

    Args:
        name: "alexnet", "vgg16", "zf5", or "torchvision:NAME" or "timm:NAME" of a network in these libraries.
        weights: "pretrained" (fetched on first use); a .safetensors file or one of `torch.save`; None: random.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "fp32" or "bf16"; see `ConvBody`.

    Raises:
        ValueError: unknown name, weights of another network, a damaged file, no such device.
        OSError: the weights cannot be read or fetched.
    """
    target = resolve_device(device)
    if precision == "bf16" and not has_bfloat16(target):
        log.info("%s: no fast bfloat16 here; single precision is used (maps differ by 1 %%)", name)
    if library.split(name):
        return replace(_library_body(name, weights), precision=precision).to(target)
    if name not in NETWORKS:
        raise ValueError(f"network: expected one of {', '.join(NETWORKS)}, torchvision:NAME or timm:NAME, got {name!r}")
    if weights == "pretrained" and name not in pretrained.CHECKPOINTS:
        raise ValueError(f"{name}: no pretrained weights can be fetched; give a file of them (--weights FILE)")
    if weights == "pretrained":
        state: State | None = pretrained.load(name)
    else:
        state = None if weights is None else read_state(Path(weights))
    return replace(assemble(name, state), precision=precision).to(target)


def assemble(name: str, state: State | None = None, seed: int = 0) -> ConvBody:
    """A body of given weights.

    Args:
        name: one of `NETWORKS`.
        state: tensors by their names in files; those of layers beyond the body are left aside. None: random weights,
            the same for a seed.
        seed: of random weights.

    Raises:
        ValueError: tensors are missing, superfluous or of another shape.
    """
    entry = NETWORKS[name]
    with torch.device("meta"):  # no memory and no initialisation
        layers = entry.layers()
    if state is None:
        state = _random_state(layers, seed)
    else:
        state = {k.removeprefix(entry.prefix): t for k, t in state.items() if not k.startswith(entry.beyond)}
    assign(layers, state, f"weights of {name}")
    layers = layers.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return ConvBody(name, layers, entry.preprocessing, entry.prefix)


def _library_body(name: str, weights: str | Path | None) -> ConvBody:
    """A body out of a library's collection."""
    layers, preprocessing = library.build(name, weights == "pretrained")
    if weights not in ("pretrained", None):
        state, mine = read_state(Path(str(weights))), layers.state_dict()
        assign(layers, {k: t for k, t in state.items() if k in mine}, f"weights of {name}")
    layers = layers.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    body = ConvBody(name, layers, preprocessing)
    body.check_geometry()
    return body


def resolve_device(device: str | torch.device) -> torch.device:
    """The device meant by "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".

    Raises:
        ValueError: it is not one of these, or there is no such device; there is no silent way back to the CPU.
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
            f"device: {device!s} asked for, but torch sees {torch.cuda.device_count()} CUDA devices; use cpu or auto"
        )
    return found


def _random_state(layers: nn.Sequential, seed: int) -> dict[str, torch.Tensor]:
    """He's initialisation from a seed of its own, so that processes agree on it; zero biases."""
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
