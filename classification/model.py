"""A trained classifier on disk, as one folder.

    classifier.json        classes, network, pyramid, layer and view it was trained for, notes
    network.safetensors    convolutions.*, where they were trained, and head.* (fc6, fc7), where there is one
    linear.safetensors     weights (K, D), bias (K,)

Convolutions that were not trained are named by network and hash, and fetched. Loading executes nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from classification.config import Layer
from classification.extractor import Extractor
from classification.linear_classifier import Kind, LinearClassifier
from classification.views import View
from detection import network
from detection.files import write_atomically
from detection.image import Preprocessing
from detection.network import ConvBody
from detection.networks import library
from detection.networks.fc_head import FcHead

FORMAT = 1
MODEL, NETWORK, LINEAR = "classifier.json", "network.safetensors", "linear.safetensors"
State = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Model:
    """A trained classifier.

    Attributes:
        classes: names, in label order.
        extractor: the network.
        linear: on one of its layers.
        layer: that one.
        view: how photos are looked at unless told otherwise; those that SVMs learned from were.
        own_convolutions: the convolutions were trained, and are kept with the rest, as is what they expect of pixels.
        notes: how it was trained.
    """

    classes: tuple[str, ...]
    extractor: Extractor
    linear: LinearClassifier
    layer: Layer
    view: View
    own_convolutions: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the folder; classifier.json comes last, so a folder that has it is whole.

        Raises:
            OSError: it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        body, head = self.extractor.body, self.extractor.head
        state: State = {}
        if self.own_convolutions:
            state |= {f"convolutions.{name}": tensor for name, tensor in body.layers.state_dict().items()}
        if head:
            state |= {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
        linear = {"weights": torch.from_numpy(self.linear.weights), "bias": torch.from_numpy(self.linear.bias)}
        files = {NETWORK: save({k: t.cpu().contiguous() for k, t in state.items()}), LINEAR: save(linear)}
        settings = {
            "format": FORMAT,
            "classes": list(self.classes),
            "network": body.name,
            "weights_hash": None if self.own_convolutions else body.weights_hash,
            "preprocessing": asdict(body.preprocessing) if self.own_convolutions else None,
            "levels": list(self.extractor.levels),
            "fixed": self.extractor.fixed_size,
            "kind": self.linear.kind,
            "layer": self.layer,
            "view": asdict(self.view),
            "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
            "notes": self.notes,
        }
        (folder / MODEL).unlink(missing_ok=True)
        for name, data in files.items():
            write_atomically(folder / name, [data])
        write_atomically(folder / MODEL, [(json.dumps(settings, indent=1) + "\n").encode()])


def load_model(folder: Path, *, device: str = "cpu", weights: str | Path = "pretrained") -> Model:
    """A model folder.

    Args:
        folder: that `Model.save` wrote.
        device: "auto", "cpu", "cuda" or "cuda:N".
        weights: of convolutions that are not in it: "pretrained", or a file.

    Raises:
        FileNotFoundError: no model there.
        ValueError: it is damaged, or the convolutions are not those that it was trained with, or are its own and
            `weights` names others.
        OSError: the weights cannot be read or fetched.
    """
    if not (folder / MODEL).is_file():
        raise FileNotFoundError(
            f"{folder}: no classifier there (no {MODEL}); train one with train_classifier or classify"
        )
    try:
        settings = _settings(folder)
        state, linear = (_read(folder / name, settings["sha256"][name]) for name in (NETWORK, LINEAR))
        kind: Kind = settings["kind"]
        classifier = LinearClassifier(linear["weights"].numpy(), linear["bias"].numpy(), kind)
        classes, layer, notes = tuple(settings["classes"]), settings["layer"], dict(settings["notes"])
        if not len(classes) == len(classifier.weights) == len(classifier.bias):
            raise ValueError(f"{len(classes)} classes, but weights of {len(classifier.weights)}")
        view, fixed, weights_hash = View(**settings["view"]), settings["fixed"], settings["weights_hash"]
        head = _part(state, "head.")
        fc = FcHead.of(head, str(folder / NETWORK)) if head else None
        own, name, levels = _part(state, "convolutions."), settings["network"], tuple(settings["levels"])
        seen = Preprocessing(**settings["preprocessing"]) if own else None
    except (KeyError, TypeError, ValueError, SafetensorError, FileNotFoundError) as error:
        raise ValueError(f"{folder}: damaged classifier ({error}); train it again") from error
    if own and weights != "pretrained":
        raise ValueError(f"{folder}: has convolutions of its own; leave --weights out")
    body = _own_body(name, own, seen) if seen else network.build(name, weights)
    if not own and body.weights_hash != weights_hash:
        raise ValueError(f"{folder}: was trained on other weights of {name} than these; give its own with --weights")
    target = network.resolve_device(device)
    extractor = Extractor(body.to(target), levels, fc.to(target) if fc else None, fixed)
    return Model(classes, extractor, classifier, layer, view, bool(own), notes)


def notes_of(folder: Path) -> dict[str, Any] | None:
    """How the classifier of a folder was trained; None if there is none.

    Raises:
        ValueError: it is damaged.
    """
    if not (folder / MODEL).is_file():
        return None
    try:
        return dict(_settings(folder)["notes"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}: damaged classifier ({error}); give --overwrite, or another --run") from error


def _settings(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / MODEL).read_text())
    if found["format"] != FORMAT:
        raise ValueError(f"format {found['format']}, this version reads {FORMAT}")
    return found


def _own_body(name: str, state: State, preprocessing: Preprocessing) -> ConvBody:
    """A body of its own weights."""
    if library.split(name):
        body = network.build(name, None)
        body.layers.load_state_dict(state)
    else:
        body = network.assemble(name, state)
    return replace(body, preprocessing=preprocessing)


def _part(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _read(path: Path, sha256: str) -> State:
    """Tensors of one file, once its hash is known to be right."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path.name} is not the file that {MODEL} tells of")
    return load(data)


def softmax_model(extractor: Extractor, fc8: torch.nn.Linear, **rest: Any) -> Model:
    """A model of a network and its softmax layer; `rest` as `Model`."""
    weights, bias = (t.detach().cpu().numpy().astype(np.float32) for t in (fc8.weight, fc8.bias))
    return Model(extractor=extractor, linear=LinearClassifier(weights, bias, "softmax"), layer="fc7", **rest)
