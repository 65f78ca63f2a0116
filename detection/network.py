"""Convolution bodies: the part of a network that runs once an image.

Where the cells of its map lie is walked from the layers, never written down: cell i is centred on pixel
`center + i * stride` of the image.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detection import weights as pretrained
from detection.fc_head import FcHead as FcHead
from detection.image import Preprocessing
from detection.layers import Window, WithinChannelLRN, window_of
from detection.state import State, assign, read_state, write_state

TORCHVISION = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), scale=1 / 255)
"""What torchvision's ImageNet weights were trained with."""

CAFFE_128 = Preprocessing(mean=(128.0, 128.0, 128.0), bgr=True)
"""BGR in 0..255 less 128: utils/caffe_anysize_test.m."""


@dataclass(frozen=True, eq=False)
class ConvBody:
    """The layers up to and including the last convolution's ReLU, and what is to be known about them.

    Attributes:
        name: of the network.
        layers: on one device; read only.
        preprocessing: from uint8 RGB to what the first layer expects.
        prefix: of its tensors' names in files.
    """

    name: str
    layers: nn.Sequential
    preprocessing: Preprocessing
    prefix: str = ""

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """What each layer reads, in order."""
        return tuple(window_of(layer) for layer in self.layers)

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
        return [layer.out_channels for layer in self.layers if isinstance(layer, nn.Conv2d)][-1]

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

    def _outputs(self, side: int) -> int:
        for w in self.windows:
            side = w.outputs(side)
        return side

    @torch.no_grad()
    def conv5(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """The map of one image.

        Single precision without TF32, so that CPU and GPU agree closely, and the same on every run.

        Args:
            image: uint8 RGB (H, W, 3), resized as wanted.

        Returns:
            float32 (C, h, w) on the body's device, >= 0; on the CPU its memory is channels-last.

        Raises:
            ValueError: the image is shorter than `min_input`.
        """
        self.map_size((image.shape[0], image.shape[1]))
        batch = self.preprocessing(image)[None].to(self.device)  # (1, 3, H, W), channels-last: twice as fast on a CPU
        if self.device.type == "cpu":
            return self.layers(batch)[0]  # (C, h, w)
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            return self.layers(batch)[0]  # (C, h, w)

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

    def save(self, path: Path) -> None:
        """Write the weights as safetensors, atomically.

        Raises:
            OSError: the file cannot be written.
        """
        write_state(path, self.state_dict())


def alexnet(state: State | None = None) -> ConvBody:
    """AlexNet as torchvision defines it (Krizhevsky 2014), conv1 to conv5.

    Args:
        state: "features.<i>.weight" and ".bias"; those of the classifier are left aside. None: random
            weights, the same each time.

    Raises:
        ValueError: tensors are missing, superfluous or of another shape.
    """
    from torchvision.models import alexnet as define  # a second to import

    with torch.device("meta"):  # no memory and no initialisation for the classifier
        layers = define(weights=None).features[:-1]  # without the last pooling
    return _body("alexnet", layers, TORCHVISION, "features.", state)


def vgg16(state: State | None = None) -> ConvBody:
    """VGG-16 as torchvision defines it, conv1_1 to conv5_3; arguments as `alexnet`."""
    from torchvision.models import vgg16 as define

    with torch.device("meta"):
        layers = define(weights=None, init_weights=False).features[:-1]
    return _body("vgg16", layers, TORCHVISION, "features.", state)


def zf5(state: State | None = None) -> ConvBody:
    """ZF-5, the network of the authors' program, conv1 to conv5.

    Args:
        state: "conv<i>.weight" and ".bias", i = 1 to 5; those of fc6 to fc8 are left aside. None: random
            weights, the same each time.

    Raises:
        ValueError: tensors are missing, superfluous or of another shape.

    Source: model-defs/Zeiler_conv5.prototxt.
    """

    def convolution(i: int, into: int, out: int, kernel: int, stride: int, padding: int) -> list[tuple[str, nn.Module]]:
        conv = nn.Conv2d(into, out, kernel, stride, padding)
        return [(f"conv{i}", conv), (f"relu{i}", nn.ReLU(inplace=True))]

    def norm_and_pool(i: int) -> list[tuple[str, nn.Module]]:
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        return [(f"norm{i}", WithinChannelLRN(3, 5e-5, 0.75)), (f"pool{i}", pool)]

    with torch.device("meta"):
        named = [
            *convolution(1, 3, 96, 7, 2, 1), *norm_and_pool(1),
            *convolution(2, 96, 256, 5, 2, 0), *norm_and_pool(2),
            *convolution(3, 256, 384, 3, 1, 1),
            *convolution(4, 384, 384, 3, 1, 1),
            *convolution(5, 384, 256, 3, 1, 1),
        ]  # fmt: skip
    return _body("zf5", nn.Sequential(OrderedDict(named)), CAFFE_128, "", state)


BUILDERS = {"alexnet": alexnet, "vgg16": vgg16, "zf5": zf5}


def build(name: str, weights: str | Path | None = "pretrained", device: str = "cpu") -> ConvBody:
    """A body by name.

    Args:
        name: "alexnet", "vgg16" or "zf5".
        weights: "pretrained" (fetched on first use); a .safetensors file or one of `torch.save`; None: random.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        ValueError: unknown name, weights of another network, a damaged file, no such device.
        OSError: the weights cannot be read or fetched.
    """
    if name not in BUILDERS:
        raise ValueError(f"network: expected one of {', '.join(BUILDERS)}, got {name!r}")
    target = resolve_device(device)
    if weights is None:
        return BUILDERS[name]().to(target)
    if weights != "pretrained":
        return BUILDERS[name](read_state(Path(weights))).to(target)
    if name not in pretrained.CHECKPOINTS:
        raise ValueError(f"{name}: no pretrained weights can be fetched; give a file of them (--weights FILE)")
    return BUILDERS[name](pretrained.load(name)).to(target)


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


def _body(name: str, layers: nn.Sequential, preprocessing: Preprocessing, prefix: str, state: State | None) -> ConvBody:
    """Give layers on the meta device their weights."""
    if state is None:
        state = _random_state(layers)
    else:
        convolutions = {k: t for k, t in state.items() if not k.startswith(("classifier.", "fc"))}
        state = {k.removeprefix(prefix): t for k, t in convolutions.items()}
    assign(layers, state, f"weights of {name}")
    layers = layers.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return ConvBody(name, layers, preprocessing, prefix)


def _random_state(layers: nn.Sequential) -> dict[str, torch.Tensor]:
    """He's initialisation from a seed of its own, so that processes agree on it; zero biases."""
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.zeros(tensor.shape) for name, tensor in layers.state_dict().items()}
    for name, tensor in state.items():
        if tensor.dim() == 4:
            nn.init.kaiming_normal_(state[name], nonlinearity="relu", generator=generator)
    return state
