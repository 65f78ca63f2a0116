"""Built-in backbones: one declarative entry per network."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from detection.image import Preprocessing
from detection.networks.geometry import Residual, WithinChannelLRN

TORCHVISION = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), scale=1 / 255)
"""Preprocessing of torchvision's ImageNet weights."""

CAFFE_128 = Preprocessing(mean=(128.0, 128.0, 128.0), bgr=True)
"""BGR in 0..255 minus 128. Source: utils/caffe_anysize_test.m."""

EFFICIENTNET_LITE = Preprocessing(mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))
"""Preprocessing of Google's EfficientNet-Lite weights."""


@dataclass(frozen=True)
class BodyEntry:
    """Definition of a backbone: its layers and the preprocessing of its weights.

    Attributes:
        layers: function that builds the layers, up to the one whose output is pooled. It is called under torch's meta
            device.
        preprocessing: conversion of images to the input of the first layer.
        prefix: prefix of the tensor names in files, before the names in `layers`.
        beyond: prefixes of the tensor names of later layers in files of the whole network.
        conv4: name of the layer in `layers` that ends the fourth of five (groups of) convolutions; empty if the network
            has no five.
    """

    layers: Callable[[], nn.Sequential]
    preprocessing: Preprocessing
    prefix: str = ""
    beyond: tuple[str, ...] = ()
    conv4: str = ""


def _alexnet() -> nn.Sequential:
    """Build conv1 to conv5 of torchvision's AlexNet, with its names (Krizhevsky 2014, without local normalisation)."""
    relu, pool = partial(nn.ReLU, inplace=True), partial(nn.MaxPool2d, 3, 2)
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), relu(), pool(),
        nn.Conv2d(64, 192, 5, 1, 2), relu(), pool(),
        nn.Conv2d(192, 384, 3, 1, 1), relu(),
        nn.Conv2d(384, 256, 3, 1, 1), relu(),
        nn.Conv2d(256, 256, 3, 1, 1), relu(),
    )  # fmt: skip


def _vgg16() -> nn.Sequential:
    """Build conv1_1 to conv5_3 of VGG-16 (Simonyan and Zisserman 2015, column D), with torchvision's names."""
    layers: list[nn.Module] = []
    into = 3
    for stage, (channels, count) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]):
        if stage:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(count):
            layers += [nn.Conv2d(into, channels, 3, 1, 1), nn.ReLU(inplace=True)]
            into = channels
    return nn.Sequential(*layers)


def _zf5(channels: tuple[int, ...] = (96, 256, 384, 384, 256), batch_norm: bool = False) -> nn.Sequential:
    """Build conv1 to conv5 of ZF-5, the network of the authors' program.

    Args:
        channels: output channels of the five convolutions.
        batch_norm: True for batch normalisation before each ReLU instead of local normalisation after the first two.

    Source: model-defs/Zeiler_conv5.prototxt.
    """
    named: list[tuple[str, nn.Module]] = []
    shapes = ((7, 2, 1), (5, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1))  # kernel, stride, padding
    for i, (into, out, shape) in enumerate(zip((3, *channels), channels, shapes, strict=False), 1):
        named.append((f"conv{i}", nn.Conv2d(into, out, *shape)))
        if batch_norm:
            named.append((f"norm{i}", nn.BatchNorm2d(out)))
        named.append((f"relu{i}", nn.ReLU(inplace=True)))
        if i <= 2 and not batch_norm:
            named.append((f"norm{i}", WithinChannelLRN(3, 5e-5, 0.75)))
        if i <= 2:
            named.append((f"pool{i}", nn.MaxPool2d(3, 2, ceil_mode=True)))
    return nn.Sequential(OrderedDict(named))


LITE_STAGES = (
    # (kernel, stride, expansion, channels, blocks): Tan and Le (2019), Table 1, with ReLU6, without squeeze-excitation
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def _efficientnet_lite(width: float, depth: float, max_stride: int = 16) -> nn.Sequential:
    """Build the convolutions of an EfficientNet-Lite with a stride of 16 pixels, without its last 1 x 1 convolution.

    The last strided block has stride 1 instead, and the blocks after it are dilated by 2, so that their receptive
    fields stay as in training (Yu and Koltun 2016). The feature map of the last layers becomes four times as dense.
    Padding is symmetric, as TensorFlow's "SAME" is for odd sides. Batch normalisation is folded into the weights.

    Args:
        width: factor for the channels in `LITE_STAGES`.
        depth: factor for the blocks in `LITE_STAGES`, except in the first and last stages.
        max_stride: stride in pixels at which dilation starts; 32 for the network as it was trained.
    """
    channels, stride, dilation = 32, 2, 1
    blocks: list[nn.Module] = []
    for stage, (kernel, step, expansion, out, count) in enumerate(LITE_STAGES):
        repeats = count if stage in (0, len(LITE_STAGES) - 1) else math.ceil(depth * count)
        for repeat in range(repeats):
            into, channels, within = channels, _multiple_of_8(width * out), dilation
            moves = step if repeat == 0 else 1
            if stride * moves > max_stride:
                dilation, moves = dilation * moves, 1
            stride *= moves
            blocks.append(_inverted_residual(into, channels, expansion, kernel, moves, within, repeat > 0))
    stem = _conv_relu6("stem", nn.Conv2d(3, 32, 3, 2, 1))
    return nn.Sequential(OrderedDict([*stem, ("blocks", nn.Sequential(*blocks))]))


def _inverted_residual(
    into: int, out: int, expansion: int, kernel: int, stride: int, dilation: int, residual: bool
) -> nn.Sequential:
    """Build an inverted residual block. Source: Sandler et al. (2018), Figure 4d."""
    inner, padding = into * expansion, dilation * (kernel // 2)
    depthwise = nn.Conv2d(inner, inner, kernel, stride, padding, dilation, groups=inner)
    named = [*_conv_relu6("depthwise", depthwise), ("project", nn.Conv2d(inner, out, 1))]
    if expansion > 1:
        named = [*_conv_relu6("expand", nn.Conv2d(into, inner, 1)), *named]
    return (Residual if residual else nn.Sequential)(OrderedDict(named))


def _conv_relu6(name: str, conv: nn.Conv2d) -> list[tuple[str, nn.Module]]:
    return [(name, conv), (f"{name}_relu", nn.ReLU6(inplace=True))]


def _multiple_of_8(channels: float) -> int:
    """Round to the nearest multiple of 8, but not below 90 % of the channels, as EfficientNet does."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


NETWORKS = {
    "alexnet": BodyEntry(_alexnet, TORCHVISION, "features.", ("classifier.",), "9"),
    "vgg16": BodyEntry(_vgg16, TORCHVISION, "features.", ("classifier.",), "22"),
    "zf5": BodyEntry(_zf5, CAFFE_128, beyond=("fc",), conv4="relu4"),
    "zf5-small": BodyEntry(partial(_zf5, (32, 64, 96, 96, 64), True), CAFFE_128, conv4="relu4"),
    "lite0": BodyEntry(partial(_efficientnet_lite, 1.0, 1.0), EFFICIENTNET_LITE),
    "lite1": BodyEntry(partial(_efficientnet_lite, 1.0, 1.1), EFFICIENTNET_LITE),
    "lite2": BodyEntry(partial(_efficientnet_lite, 1.1, 1.2), EFFICIENTNET_LITE),
}
