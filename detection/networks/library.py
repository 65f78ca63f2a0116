"""Backbones from torchvision and timm, by names such as "torchvision:resnet50" and "timm:resnet18.a1_in1k"."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from detection.image import Preprocessing

STRIDE = 16  # pixels per cell, as in the paper's networks
PROBE = 512  # side in pixels of the image used to measure the strides of layers


def split(name: str) -> tuple[str, str] | None:
    """Split "library:network" into (library, network); return None for names without a colon.

    Raises:
        ValueError: the library is unknown.
    """
    library, colon, network = name.partition(":")
    if not colon:
        return None
    if library not in LIBRARIES:
        raise ValueError(
            f"network: {name}: expected a network of {' or '.join(LIBRARIES)}, such as torchvision:resnet50"
        )
    return library, network


def build(name: str, pretrained: bool) -> tuple[fx.GraphModule, Preprocessing]:
    """Build the layers up to the last block whose feature map has a stride of 16 pixels.

    Args:
        name: "torchvision:NETWORK" or "timm:NETWORK".
        pretrained: True for the library's default weights, loaded by the library; False for random weights from a
            fixed seed.

    Returns:
        The layers, and the preprocessing that the library's weights were trained with.

    Raises:
        ValueError: the library or network is unknown, the library is not installed, or the network has no such map.
        OSError: the weights cannot be loaded.
    """
    from torchvision.models.feature_extraction import create_feature_extractor

    found = split(name)
    assert found is not None
    model, preprocessing = LIBRARIES[found[0]](found[1], pretrained)
    try:
        node = _last_at_stride(model.eval())
        body = create_feature_extractor(model, [node], suppress_diff_warning=True)
    except Exception as error:  # tracers raise many kinds of errors
        raise ValueError(
            f"network: {name}: has no usable feature map of stride {STRIDE} ({_reason(error)}); choose another network"
        ) from error
    output = next(n for n in body.graph.nodes if n.op == "output")
    output.args = (output.args[0][node],)  # the map itself instead of a dictionary of maps
    return fx.GraphModule(body, body.graph), preprocessing


def _last_at_stride(model: nn.Module) -> str:
    """Return the name of the last block whose output is a feature map of stride `STRIDE`.

    Raises:
        ValueError: there is none.
    """
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    names = get_graph_node_names(model, suppress_diff_warning=True)[1]
    ends = {".".join(n.split(".")[:2]): n for n in names}  # the last node of each block: "layer3.5", "features.29", ...
    whole = create_feature_extractor(model, list(ends.values()), suppress_diff_warning=True)
    outputs = copy.deepcopy(whole).to("meta")(torch.zeros(1, 3, PROBE, PROBE, device="meta"))
    maps = [n for n, out in outputs.items() if isinstance(out, torch.Tensor) and out.dim() == 4]
    at_stride = [n for n in maps if tuple(outputs[n].shape[2:]) == (PROBE // STRIDE,) * 2]
    if not at_stride:
        raise ValueError(f"its maps have sizes {sorted({tuple(outputs[n].shape[2:]) for n in maps})}")
    return at_stride[-1]


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """Build a network whose random weights come from a fixed seed, without changing torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def _torchvision(network: str, pretrained: bool) -> tuple[nn.Module, Preprocessing]:
    from torchvision import models

    if network not in models.list_models(module=models):
        raise ValueError(
            f"network: torchvision has no {network!r}; torchvision.models.list_models() lists its networks"
        )
    weights = models.get_model_weights(network)["DEFAULT"]
    transforms = weights.transforms()
    try:
        model = _seeded(lambda: models.get_model(network, weights=weights if pretrained else None))
    except OSError as error:
        raise OSError(f"{weights.url}: cannot be downloaded ({error}); give a file with --weights") from error
    return model, Preprocessing(tuple(transforms.mean), tuple(transforms.std), 1 / 255)


def _timm(network: str, pretrained: bool) -> tuple[nn.Module, Preprocessing]:
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"network: timm:{network} needs timm; run: pip install 'sppnet[timm]'") from error
    if not timm.is_model(network):
        raise ValueError(f"network: timm has no {network!r}; timm.list_models() lists its networks")
    try:
        model: Any = _seeded(lambda: timm.create_model(network, pretrained=pretrained))
    except Exception as error:  # timm's download client raises many kinds of errors
        raise OSError(
            f"timm:{network}: no pretrained weights ({_reason(error)}); give a file with --weights"
        ) from error
    config = model.pretrained_cfg
    return model, Preprocessing(tuple(config["mean"]), tuple(config["std"]), 1 / 255)


def _reason(error: Exception) -> str:
    """Shorten an error's text to one line."""
    return " ".join(str(error).split())[:200]


LIBRARIES: dict[str, Callable[[str, bool], tuple[nn.Module, Preprocessing]]] = {
    "torchvision": _torchvision,
    "timm": _timm,
}
