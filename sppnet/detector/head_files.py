"""The files of a run's fine-tuned layers: fc6 and fc7, the softmax layer, and how they were trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypedDict

from torch import nn

from detection.config import Count, Factor, FinetuneConfig, Seed
from detection.files import parse_json, write_atomically
from detection.networks.fc_head import FcHead
from detection.plain_values import Limits, read
from detection.value_digest import check_digest, with_digest
from detection.weights.state_dict import read_state, write_state

HEAD = "fc_head.safetensors"  # fc6 and fc7
CLASSIFIER, SETTINGS = "classifier.safetensors", "finetune.json"
SUMS = "sha256"  # in SETTINGS: file -> SHA-256; older trainings have none
NEEDED = ("training", "classes", "validation", "seed", "finetune", "curve", "best", "mirror", "block")


class Notes(TypedDict, total=False):
    """The contents of SETTINGS, as far as commands rely on them; `NEEDED` are always there."""

    training: str
    photos: str | None
    annotations: str
    classes: list[str]
    mirror: bool | None
    train_views: list[str]
    validation: Annotated[float, Limits(0, 1, above=True)]
    block: Annotated[int, Limits(1, 10**9)]
    seed: Seed
    box_loss: Factor
    subspace: Count
    finetune: FinetuneConfig
    curve: list[dict[str, Any]]
    best: dict[str, Any]
    sha256: dict[str, str]


def read_notes(folder: Path) -> dict[str, Any] | None:
    """Read how the layers in a folder were trained; None if there are none, or their training is not finished.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = parse_json(path.read_text("utf-8"))
        read(Notes, found)
        if missing := [name for name in NEEDED if name not in found]:
            raise ValueError(f"{missing[0]} is missing")
        check_digest(found)
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); delete it and run `sppnet stage finetune`") from error
    return found


def damage(folder: Path, notes: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the layers in a folder; None: they are those that were trained.

    Args:
        folder: holds the layers.
        notes: how they were trained.
    """
    for path in (folder / HEAD, folder / CLASSIFIER):
        stated = notes.get(SUMS, {}).get(path.name)
        try:
            if stated is None:
                read_state(path)
            elif hashlib.sha256(path.read_bytes()).hexdigest() != stated:
                return f"{path}: damaged (it does not match its checksum in {SETTINGS})"
        except FileNotFoundError:
            return f"{path}: missing"
        except (OSError, ValueError) as error:
            return f"{path}: damaged ({error})"
    return None


def undamaged(folder: Path) -> dict[str, Any]:
    """Return how the layers in a folder were trained, after a look at their files.

    Raises:
        FileNotFoundError: there are no fine-tuned layers.
        ValueError: a file is damaged.
    """
    notes = read_notes(folder)
    if notes is None:
        raise FileNotFoundError(f"{folder / SETTINGS}: no fine-tuned layers; run `sppnet stage finetune`")
    if found := damage(folder, notes):
        raise ValueError(f"{found}; run `sppnet stage finetune`, which trains them again")
    return notes


def save(folder: Path, head: FcHead, fc8: nn.Linear, notes: Mapping[str, Any]) -> dict[str, Any]:
    """Write the layers, then how they were trained, with their checksums; return this.

    Raises:
        OSError: a file cannot be written.
    """
    head.save(folder / HEAD)
    write_state(folder / CLASSIFIER, fc8.state_dict())
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (HEAD, CLASSIFIER)}
    result = with_digest({**notes, SUMS: sums})
    write_atomically(folder / SETTINGS, [(json.dumps(result, indent=1) + "\n").encode()])
    return result
