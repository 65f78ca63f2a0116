"""Initial weights of fc6 and fc7: ImageNet's layers, a file, or random numbers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.hub import load_state_dict_from_url

from detection.config import PAPER, PoolingConfig
from detection.networks.fc_head import FcHead, NormalizedHead
from detection.weights.state_dict import State, read_state

FINEST = 6  # bins per side of the pyramid level that ImageNet's fc6 reads
CONV5_CHANNELS = {"alexnet": 256, "vgg16": 512}


def build(
    start: str,
    inputs: int,
    network: str,
    pooling: PoolingConfig = PAPER.pooling,
    width: int = 4096,
    seed: int = 0,
) -> FcHead:
    """Build fc6 and fc7 in training mode.

    Args:
        start: "random" for He's initialisation with batch normalisation during training (`NormalizedHead`);
            "imagenet" for the layers of torchvision's pretrained network, downloaded by torchvision; or a file with a
            state dict of torchvision's network or `FcHead`, compressed or not.
        inputs: length of a pooled vector.
        network: name of the backbone, for "imagenet".
        pooling: the pyramid levels. ImageNet's fc6 reads the last level of the window, which must have 6 bins per side.
        width: outputs of fc6 and fc7, for "random".
        seed: random seed, for "random".

    Raises:
        ValueError: the layers do not fit the pooled vectors, or the network has no ImageNet layers.
        OSError: the file cannot be read or downloaded.
    """
    if start == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return NormalizedHead(inputs, width).train()
    state = _download(network) if start == "imagenet" else read_state(Path(start))
    if "classifier.1.weight" in state or "classifier.0.weight" in state:
        if pooling.levels[-1] != FINEST:
            raise ValueError(
                f"{start}: its fc6 reads {FINEST} x {FINEST} bins; train with --levels that end in {FINEST}"
            )
        state = from_torchvision(state, inputs, pooling.bins - sum(n * n for n in pooling.levels))
    first = next((name for name in ("fc6.weight", "fc6.reduce.weight") if name in state), None)
    if first is None or state[first].shape[1:] != (inputs,):
        got = tuple(state[first].shape) if first else sorted(state)[:3]
        raise ValueError(
            f"{start}: expected an fc6.weight of (width, {inputs}), got {got}; give layers of this network"
        )
    return FcHead.of(state, start).with_detectors(None).train()


def from_torchvision(state: State, inputs: int, bins_after: int = 0) -> dict[str, torch.Tensor]:
    """Convert the fully connected layers of torchvision's AlexNet or VGG-16 to those of an `FcHead`.

    For a whole image, the head computes what the network's own layers compute, for VGG-16 approximately. The weights of
    fc6's 6 x 6 grid are used for the finest pyramid level, and those of coarser levels are zero. VGG-16's 7 x 7 grid is
    resampled to 6 x 6, keeping the sum over the grid.

    Args:
        state: state dict of the whole torchvision network.
        inputs: length of a pooled vector, with the finest level of the window last but for `bins_after`.
        bins_after: number of bins of larger windows around the window; their weights are zero.

    Returns:
        State dict with fc6.weight (width, inputs), fc6.bias, fc7.weight and fc7.bias.

    Raises:
        ValueError: the numbers of channels differ.
    """
    first, second = (1, 4) if "classifier.1.weight" in state else (0, 3)
    weight = state[f"classifier.{first}.weight"].float()
    side = 6 if first == 1 else 7
    channels = weight.shape[1] // side**2
    grid = weight.reshape(len(weight), channels, side, side)
    if side != FINEST:
        grid = torch.nn.functional.interpolate(grid, size=(FINEST, FINEST), mode="bilinear", align_corners=False)
        grid = grid * (side**2 / FINEST**2)
    columns = grid.permute(0, 2, 3, 1).flatten(1)  # (width, 36 * C): row, column, channel, as in pooled vectors
    after = bins_after * channels
    if columns.shape[1] + after > inputs or inputs % channels:
        raise ValueError(
            f"fc6: expected pooled vectors of {channels} channels, got length {inputs}; give layers of this network"
        )
    return {
        "fc6.weight": torch.nn.functional.pad(columns, (inputs - columns.shape[1] - after, after)),
        "fc6.bias": state[f"classifier.{first}.bias"],
        "fc7.weight": state[f"classifier.{second}.weight"],
        "fc7.bias": state[f"classifier.{second}.bias"],
    }


def _download(network: str) -> State:
    """Download the whole pretrained network into torch's hub folder, as torchvision does, and check its hash."""
    from torchvision import models

    if network not in CONV5_CHANNELS:
        raise ValueError(f"{network}: no ImageNet layers are known; start at random, or give a file")
    weights = {"alexnet": models.AlexNet_Weights, "vgg16": models.VGG16_Weights}[network].IMAGENET1K_V1
    try:
        state: State = load_state_dict_from_url(weights.url, map_location="cpu", check_hash=True, weights_only=True)
    except OSError as error:
        raise OSError(f"{weights.url}: cannot be downloaded ({error}); start at random, or give a file") from error
    return state
