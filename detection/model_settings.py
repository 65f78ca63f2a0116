"""The contents of model.json, the part of a model folder that is text: what it may hold, reading it, writing it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_args

from detection import zoo
from detection.calibration import Calibration
from detection.config import Config, Count, Factor, Seed
from detection.files import parse_json, write_atomically
from detection.networks.fc_head import Layer
from detection.plain_values import MAY_BE_ABSENT, Limits, read, shown
from detection.value_digest import check_digest, with_digest

Format = Literal[2, 3, 4]  # since format 3, box regressors may see fc7, since format 4, SVMs may see pool5 and fc7
FORMATS: tuple[int, ...] = get_args(Format)
MODEL = zoo.MODEL
Scale = Annotated[float, Limits(0, 1e30, above=True)]  # of features; finite in single precision
SVMS, HEAD, REGRESSORS = "svms.safetensors", "fc_head.safetensors", "bbox_regressors.safetensors"


class Notes(TypedDict, total=False):
    """How a model was trained, as far as commands rely on it; there may be other notes."""

    training: str
    photos: str | None
    annotations: str
    category_ids: list[int | str | None]
    data: str
    images: Count
    layer: Literal["pool5", "fc6", "fc7", "pool5+fc7"]
    head: str | None
    svm: dict[str, Any]
    max_negatives_per_image: Annotated[int, Limits(1, 10**9)] | None
    solver: Literal["shared", "liblinear"]
    seed: Seed
    energy: Annotated[float, Limits(0, 1, above=True)]
    softmax_weight: Factor
    train_views: list[str]
    svm_seconds: Factor
    regression: str


class Proposals(TypedDict, total=False):
    """How windows were made, as far as commands rely on it; see `ProposalSettings`."""

    version: int
    source: str
    max_boxes: Count | None


@dataclass(frozen=True)
class ModelSettings:
    """The contents of model.json, see `Model`."""

    format: Format
    network: str
    weights_hash: str
    classes: Annotated[tuple[str, ...], Limits(1, 10**6)]
    proposals: Proposals
    config: Config
    features: Literal["pool5", "fc6", "fc7", "pool5+fc7"]
    svm_feature_scale: Scale
    bbox_feature_scale: Scale
    box_regression: bool
    notes: Notes
    sha256: dict[str, str]  # file -> its hash
    bbox_features: Layer | None = field(default=None, metadata=MAY_BE_ABSENT)
    calibration: Calibration | None = field(default=None, metadata=MAY_BE_ABSENT)


def write_settings(folder: Path, values: dict[str, Any]) -> None:
    """Write model.json atomically, with the digest of its values.

    Args:
        folder: model folder.
        values: what JSON can hold, the fields of `ModelSettings`.

    Raises:
        ValueError: a value is not as its annotation says; nothing is written.
        OSError: the file cannot be written.
    """
    text = json.dumps(with_digest(values), indent=1)
    try:
        _settings_of(json.loads(text))
    except ValueError as error:
        raise ValueError(f"{folder / MODEL}: not written ({error})") from error
    write_atomically(folder / MODEL, [f"{text}\n".encode()])


def read_settings(folder: Path) -> ModelSettings:
    """Read model.json.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not JSON, a value is missing or not as its annotation says, which the line names, or the
            values are not those that were written.
        OSError: the file cannot be read.
    """
    path = folder / MODEL
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model; run `sppnet train`, or name another folder")
    try:
        values = parse_json(path.read_text("utf-8"))
        found = _settings_of(values)
        check_digest(values)
        return found
    except ValueError as error:
        raise damaged(folder, f"{MODEL}: {error}") from error


def damaged(folder: Path, why: object) -> ValueError:
    """The error of a model folder whose files are not those that were saved."""
    return ValueError(f"{folder}: damaged model ({why}); train it again")


def _settings_of(values: Any) -> ModelSettings:
    """Values of JSON as settings; names that are none of the fields are left out."""
    known = {f.name for f in fields(ModelSettings)}
    there = {name: value for name, value in values.items() if name in known} if isinstance(values, dict) else values
    found: ModelSettings = read(ModelSettings, there)
    others = found.sha256.keys() - {SVMS, REGRESSORS, HEAD}
    if SVMS not in found.sha256 or others:
        raise ValueError(f"sha256: expected {SVMS}, {REGRESSORS} and {HEAD} only, got {shown(list(found.sha256))}")
    if len(set(found.classes)) < len(found.classes):
        raise ValueError(f"classes: expected different names, got {shown(list(found.classes))}")
    ids = found.notes.get("category_ids")
    if ids and len(ids) != len(found.classes):
        raise ValueError(f"notes.category_ids: expected one for each of {len(found.classes)} classes, got {len(ids)}")
    if found.calibration:
        found.calibration.check(len(found.classes))
    return found
