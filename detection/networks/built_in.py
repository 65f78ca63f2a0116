"""The networks that are built in, one declarative entry each."""

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
"""What torchvision's ImageNet weights were trained with."""

CAFFE_128 = Preprocessing(mean=(128.0, 128.0, 128.0), bgr=True)
"""BGR in 0..255 less 128: utils/caffe_anysize_test.m."""

EFFICIENTNET_LITE = Preprocessing(mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))
"""What Google's EfficientNet-Lite weights were trained with."""


@dataclass(frozen=True)
class BodyEntry:
    """How a convolution body is made, and what its weights were trained with.

    Attributes:
        layers: makes the layers, up to the one whose output is pooled; called under the meta device.
        preprocessing: of photos.
        prefix: that names of tensors in files have before those in `layers`.
        beyond: beginnings of names in files of the whole network that belong to later layers.
        conv4: name of the layer in `layers` that ends the fourth of five (groups of) convolutions, if it has five.
    """

    layers: Callable[[], nn.Sequential]
    preprocessing: Preprocessing
    prefix: str = ""
    beyond: tuple[str, ...] = ()
    conv4: str = ""


def _alexnet() -> nn.Sequential:
    """AlexNet as torchvision has it (Krizhevsky 2014, no local normalisation), conv1 to conv5, names as there."""
    relu, pool = partial(nn.ReLU, inplace=True), partial(nn.MaxPool2d, 3, 2)
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), relu(), pool(),
        nn.Conv2d(64, 192, 5, 1, 2), relu(), pool(),
        nn.Conv2d(192, 384, 3, 1, 1), relu(),
        nn.Conv2d(384, 256, 3, 1, 1), relu(),
        nn.Conv2d(256, 256, 3, 1, 1), relu(),
    )  # fmt: skip


def _vgg16() -> nn.Sequential:
    """VGG-16 (Simonyan and Zisserman 2015, column D), conv1_1 to conv5_3, names as torchvision's."""
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
    """ZF-5, the network of the authors' program, conv1 to conv5: model-defs/Zeiler_conv5.prototxt.

    Args:
        channels: of the five convolutions.
        batch_norm: before each ReLU, instead of the local normalisation after two of them.
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
    # (kernel, stride, expansion, channels, blocks): Tan and Le (2019), Table 1, with ReLU6 and no squeezing
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def _efficientnet_lite(width: float, depth: float, max_stride: int = 16) -> nn.Sequential:
    """The convolutions of an EfficientNet-Lite but for the last, which only widens, at a stride of 16 pixels.

    The last strided block steps one cell instead, and the blocks after it are dilated by 2, so that each sees as far
    as it did in training (Yu and Koltun 2016): a map four times as dense out of the network's last layers. Padding is
    symmetric, as TensorFlow's "SAME" is for odd sides. Batch normalisation is folded into the weights.

    Args:
        width: factor on the channels of the table.
        depth: factor on its blocks; the first and the last stage keep theirs.
        max_stride: 32 for the network as it was trained.
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
    """One block: Sandler et al. (2018), Figure 4d."""
    inner, padding = into * expansion, dilation * (kernel // 2)
    depthwise = nn.Conv2d(inner, inner, kernel, stride, padding, dilation, groups=inner)
    named = [*_conv_relu6("depthwise", depthwise), ("project", nn.Conv2d(inner, out, 1))]
    if expansion > 1:
        named = [*_conv_relu6("expand", nn.Conv2d(into, inner, 1)), *named]
    return (Residual if residual else nn.Sequential)(OrderedDict(named))


def _conv_relu6(name: str, conv: nn.Conv2d) -> list[tuple[str, nn.Module]]:
    return [(name, conv), (f"{name}_relu", nn.ReLU6(inplace=True))]


def _multiple_of_8(channels: float) -> int:
    """The nearest multiple, but at least nine tenths of the channels: EfficientNet's rounding."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


NETWORKS = {
    "alexnet": BodyEntry(_alexnet, TORCHVISION, "features.", ("classifier.",), "9"),
    "vgg16": BodyEntry(_vgg16, TORCHVISION, "features.", ("classifier.",), "22"),
    "zf5": BodyEntry(_zf5, CAFFE_128, beyond=("fc",), conv4="relu4"),
    "zf5-small": BodyEntry(partial(_zf5, (32, 64, 96, 96, 64), True), CAFFE_128, conv4="relu4"),
    "lite0": BodyEntry(partial(_efficientnet_lite, 1.0, 1.0), EFFICIENTNET_LITE),
    "lite2": BodyEntry(partial(_efficientnet_lite, 1.1, 1.2), EFFICIENTNET_LITE),
}
