"""Convolution bodies out of torchvision's and timm's collections: "torchvision:resnet50", "timm:resnet18.a1_in1k"."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from detection.image import Preprocessing

STRIDE = 16  # pixels a cell, as the networks of the paper have
PROBE = 512  # side in pixels of the image that strides are read off


def split(name: str) -> tuple[str, str] | None:
    """(library, network) of "library:network", or None for another name.

    Raises:
        ValueError: the library is not known.
    """
    library, colon, network = name.partition(":")
    if not colon:
        return None
    if library not in LIBRARIES:
        raise ValueError(f"network: {name}: expected a network of {' or '.join(LIBRARIES)}, as torchvision:resnet50")
    return library, network


def build(name: str, pretrained: bool) -> tuple[fx.GraphModule, Preprocessing]:
    """The layers up to the last block whose map has a stride of 16 pixels, and what its weights were trained with.

    Args:
        name: "torchvision:NETWORK" or "timm:NETWORK".
        pretrained: with the library's default weights, loaded its own way; else random, the same each time.

    Raises:
        ValueError: no such library or network, the library is not installed, or the network has no such map.
        OSError: the weights cannot be loaded.
    """
    from torchvision.models.feature_extraction import create_feature_extractor

    found = split(name)
    assert found is not None
    model, preprocessing = LIBRARIES[found[0]](found[1], pretrained)
    try:
        node = _last_at_stride(model.eval())
        body = create_feature_extractor(model, [node], suppress_diff_warning=True)
    except Exception as error:  # tracers fail in as many ways as there are networks
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"network: {name}: no map of stride {STRIDE} can be cut out of it ({reason})") from error
    output = next(n for n in body.graph.nodes if n.op == "output")
    output.args = (output.args[0][node],)  # the map itself, not a dictionary of maps
    return fx.GraphModule(body, body.graph), preprocessing


def _last_at_stride(model: nn.Module) -> str:
    """Name of the last block of a network whose output is a map of the stride.

    Raises:
        ValueError: there is none.
    """
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    names = get_graph_node_names(model, suppress_diff_warning=True)[1]
    ends = {".".join(n.split(".")[:2]): n for n in names}  # the last node of "layer3.5", "features.29", ...
    whole = create_feature_extractor(model, list(ends.values()), suppress_diff_warning=True)
    outputs = copy.deepcopy(whole).to("meta")(torch.zeros(1, 3, PROBE, PROBE, device="meta"))
    maps = [n for n, out in outputs.items() if isinstance(out, torch.Tensor) and out.dim() == 4]
    at_stride = [n for n in maps if tuple(outputs[n].shape[2:]) == (PROBE // STRIDE,) * 2]
    if not at_stride:
        raise ValueError(f"its maps have sides of {sorted({tuple(outputs[n].shape[2:]) for n in maps})}")
    return at_stride[-1]


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """A network whose random weights are the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def _torchvision(network: str, pretrained: bool) -> tuple[nn.Module, Preprocessing]:
    from torchvision import models

    if network not in models.list_models(module=models):
        raise ValueError(f"network: torchvision has no {network!r}; torchvision.models.list_models() names them")
    weights = models.get_model_weights(network)["DEFAULT"]
    seen = weights.transforms()
    try:
        model = _seeded(lambda: models.get_model(network, weights=weights if pretrained else None))
    except OSError as error:
        raise OSError(f"{weights.url}: cannot be downloaded ({error}); give a file with --weights") from error
    return model, Preprocessing(tuple(seen.mean), tuple(seen.std), 1 / 255)


def _timm(network: str, pretrained: bool) -> tuple[nn.Module, Preprocessing]:
    try:
        import timm
    except ImportError as error:
        raise ValueError(f"network: timm:{network} needs timm; pip install 'sppnet[timm]'") from error
    if not timm.is_model(network):
        raise ValueError(f"network: timm has no {network!r}; timm.list_models() names them")
    try:
        model: Any = _seeded(lambda: timm.create_model(network, pretrained=pretrained))
    except Exception as error:  # of its hub's client
        reason = " ".join(str(error).split())[:200]
        raise OSError(f"timm:{network}: no pretrained weights ({reason}); give a file with --weights") from error
    seen = model.pretrained_cfg
    return model, Preprocessing(tuple(seen["mean"]), tuple(seen["std"]), 1 / 255)


LIBRARIES: dict[str, Callable[[str, bool], tuple[nn.Module, Preprocessing]]] = {
    "torchvision": _torchvision,
    "timm": _timm,
}
