"""Trained classifiers, saved as one folder each.

    classifier.json        classes, network, pyramid, the layer and view the classifier was trained on, notes
    network.safetensors    convolutions.*, if they were trained, and head.* (fc6, fc7), if there are any
    linear.safetensors     weights (K, D), bias (K,)

Convolutions that were not trained are stored by network name and weight hash, and fetched on loading. Loading executes
no code from the folder.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from classification.config import Layer
from classification.extractor import Extractor
from classification.linear_classifier import Kind, LinearClassifier
from classification.network import pooled_length
from classification.views import View
from detection import network
from detection.config import LARGEST_SIDE, Levels
from detection.files import parse_json, write_atomically
from detection.image import Preprocessing
from detection.network import ConvBody
from detection.networks import library
from detection.networks.fc_head import FcHead
from detection.plain_values import Limits, read
from detection.value_digest import check_digest, with_digest
from detection.weights.state_dict import check_finite

MODEL, NETWORK, LINEAR = "classifier.json", "network.safetensors", "linear.safetensors"
TRAIN_HINT = "train a classifier with `sppnet classifier train` or `sppnet classifier train-network`"
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Settings:
    """The contents of classifier.json, see `Model` and `Extractor`."""

    format: Literal[1]
    classes: Annotated[tuple[str, ...], Limits(1, 10**6)]
    network: str
    weights_hash: str | None
    preprocessing: Preprocessing | None
    levels: Levels
    fixed: Annotated[int, Limits(1, LARGEST_SIDE)] | None
    kind: Kind
    layer: Layer
    view: View
    sha256: dict[str, str]  # file -> its hash
    notes: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Model:
    """Trained classifier.

    Attributes:
        classes: names of the K classes, in label order.
        extractor: the network.
        linear: linear classifier of the outputs of `layer`.
        layer: name of the layer.
        view: default view of a photo; SVMs were trained on this view.
        own_convolutions: whether the convolutions were trained. If so, they and their preprocessing are saved too.
        notes: how the classifier was trained, as JSON values.
    """

    classes: tuple[str, ...]
    extractor: Extractor
    linear: LinearClassifier
    layer: Layer
    view: View
    own_convolutions: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the folder. classifier.json is written last, so a folder that has it is complete.

        Raises:
            OSError: the folder cannot be written.
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
            "format": 1,
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
        write_atomically(folder / MODEL, [(json.dumps(with_digest(settings), indent=1) + "\n").encode()])


def load_model(folder: Path, *, device: str = "cpu", weights: str | Path = "pretrained") -> Model:
    """Load a classifier.

    Args:
        folder: folder written by `Model.save`.
        device: "auto", "cpu", "cuda" or "cuda:N".
        weights: convolutions that the folder does not hold: "pretrained", or a file.

    Raises:
        FileNotFoundError: the folder holds no classifier.
        ValueError: the folder is damaged, the convolutions are not those the classifier was trained on, or `weights`
            is given for a classifier that holds its own convolutions.
        OSError: the weights cannot be read or fetched.
    """
    if not (folder / MODEL).is_file():
        raise FileNotFoundError(f"{folder}: no classifier here ({MODEL} is missing); {TRAIN_HINT}")
    try:
        s = _settings(folder)
        state, linear = (_read(folder / name, s.sha256[name]) for name in (NETWORK, LINEAR))
        classifier = LinearClassifier(linear["weights"].numpy(), linear["bias"].numpy(), s.kind)
        shapes = classifier.weights.shape, classifier.bias.shape
        if [shape[:1] for shape in shapes] != [(len(s.classes),)] * 2 or list(map(len, shapes)) != [2, 1]:
            raise ValueError(f"{LINEAR}: weights {shapes[0]} and bias {shapes[1]} for {len(s.classes)} classes")
        head = _part(state, "head.")
        fc = FcHead.of(head, str(folder / NETWORK)) if head else None
        own = _part(state, "convolutions.")
        if bool(own) != (s.preprocessing is not None):
            raise ValueError("convolutions without their preprocessing, or the other way round")
        body = _own_body(s.network, own, s.preprocessing) if s.preprocessing else None
    except (KeyError, TypeError, ValueError, SafetensorError, FileNotFoundError) as error:
        raise ValueError(f"{folder}: damaged classifier ({error}); train it again") from error
    if own and weights != "pretrained":
        raise ValueError(f"{folder}: holds its own trained convolutions; leave --weights out")
    body = body or network.build(s.network, weights)
    if not own and body.weights_hash != s.weights_hash:
        what = f"was trained on other weights of {s.network} than these"
        raise ValueError(f"{folder}: {what}; give those of the training with --weights")
    if fc and fc.fc6.in_features != (length := pooled_length(body, s.levels)):
        what = f"{NETWORK}: fc6 takes vectors of length {fc.fc6.in_features}, but the levels give {length}"
        raise ValueError(f"{folder}: damaged classifier ({what}); train it again")
    target = network.resolve_device(device)
    extractor = Extractor(body.to(target), s.levels, fc.to(target) if fc else None, s.fixed)
    if (expected := _length(extractor, s.layer)) not in (None, classifier.weights.shape[1]):
        what = f"{LINEAR}: weights for vectors of length {classifier.weights.shape[1]}, but {s.layer} has {expected}"
        raise ValueError(f"{folder}: damaged classifier ({what}); train it again")
    return Model(s.classes, extractor, classifier, s.layer, s.view, bool(own), s.notes)


def _length(extractor: Extractor, layer: Layer) -> int | None:
    """Return the length of a layer's vectors; None: that of feature maps depends on the photo."""
    extractor.check(layer)
    if extractor.head and layer in ("fc6", "fc7"):
        return (extractor.head.fc6 if layer == "fc6" else extractor.head.fc7).out_features
    return None if layer in ("conv4", "conv5") else pooled_length(extractor.body, extractor.pooled_levels(layer))


def notes_of(folder: Path) -> dict[str, Any] | None:
    """Read the training notes of a classifier folder; None if it holds no classifier.

    Raises:
        ValueError: the folder is damaged.
    """
    if not (folder / MODEL).is_file():
        return None
    try:
        return _settings(folder).notes
    except ValueError as error:
        raise ValueError(f"{folder}: damaged classifier ({error}); give --overwrite, or another --run") from error


def check_files(folder: Path) -> None:
    """Check that the arrays of a classifier are those that were saved.

    Raises:
        ValueError: one is damaged or missing.
    """
    try:
        stated = _settings(folder).sha256
        for name in (NETWORK, LINEAR):
            _read(folder / name, stated[name])
    except (KeyError, ValueError, SafetensorError, FileNotFoundError) as error:
        raise ValueError(f"{folder}: damaged classifier ({error}); give --overwrite, or another --run") from error


def _settings(folder: Path) -> Settings:
    """Read classifier.json; names that are none of the fields are left out.

    Raises:
        ValueError: a value is missing, or not as its annotation says, or the values are not those that were written.
    """
    values = parse_json((folder / MODEL).read_text("utf-8"))
    known = {f.name for f in fields(Settings)}
    there = {name: value for name, value in values.items() if name in known} if isinstance(values, dict) else values
    found: Settings = read(Settings, there)
    if len(set(found.classes)) < len(found.classes):
        raise ValueError("classes: expected different names")
    check_digest(values)
    return found


def _own_body(name: str, state: State, preprocessing: Preprocessing) -> ConvBody:
    """Build convolutions from weights saved with a classifier."""
    if library.split(name):
        body = network.build(name, None)
        body.layers.load_state_dict(state)
    else:
        body = network.assemble(name, state)
    return replace(body, preprocessing=preprocessing)


def _part(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _read(path: Path, sha256: str) -> State:
    """Read the tensors of a file after checking its hash."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path.name} does not match its checksum in {MODEL}")
    state = load(data)
    check_finite(state, path.name)
    return state


def softmax_model(extractor: Extractor, fc8: torch.nn.Linear, **rest: Any) -> Model:
    """Build the `Model` of a network with its softmax layer; `rest` are further fields of `Model`."""
    weights, bias = (t.detach().cpu().numpy().astype(np.float32) for t in (fc8.weight, fc8.bias))
    return Model(extractor=extractor, linear=LinearClassifier(weights, bias, "softmax"), layer="fc7", **rest)
