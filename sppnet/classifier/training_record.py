"""The record that the training of a network leaves in its run folder, training.json: settings, photos, curve."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from classification.config import TrainConfig
from classification.model import check_files, notes_of
from classification.training import EpochPoint
from data.class_folders import LabelledPhotos
from detection.files import parse_json, write_atomically
from sppnet.classifier.photos import CLASSIFIER
from sppnet.progress import log
from sppnet.settings.classifier import NetworkTrainingSettings

RECORD = "training.json"
NETWORK_SETTINGS = ("backbone", "start", "pyramid", "width", "norm", "dropout")
BEFORE = "training_with_places"  # what "training" was in earlier records: the places of the photos were part of it
Record = dict[str, Any]
"""Settings by name; "classes"; "photos" and "held_out", the numbers of photos; "test", [path, label] of each held-out
photo; "training", a SHA-256 over settings, contents of the photos and labels; "curve", one dictionary per epoch."""


def new_record(
    settings: NetworkTrainingSettings, config: TrainConfig, photos: LabelledPhotos, held_out: LabelledPhotos
) -> Record:
    """Return the record of a training that has not begun: everything that decides the result, but no curve.

    Raises:
        OSError: a photo or the weights cannot be read.
    """
    s = settings
    record: Record = {
        "data": photos.name,
        "classes": list(photos.classes),
        "photos": len(photos),
        "held_out": len(held_out),
        **{name: getattr(s, name) for name in NETWORK_SETTINGS},
        "weights": _digest(s.weights) if s.weights else None,
        "precision": s.precision,
        "seed": s.seed,
        "config": asdict(config),
    }
    with ThreadPoolExecutor() as threads:
        files = [list(threads.map(_digest, part.paths)) for part in (photos, held_out)]
    truths = [part.truth.tolist() for part in (photos, held_out)]
    decisive = {name: value for name, value in record.items() if name != "data"}  # neither names nor places of photos
    record["test"] = [[str(p.resolve()), int(k)] for p, k in zip(held_out.paths, held_out.labels, strict=True)]
    record["training"] = _key(decisive, files, truths)
    record[BEFORE] = _key({name: record[name] for name in record if name != "training"}, files, truths)
    return record


def with_curve(record: Record, curve: Sequence[EpochPoint]) -> Record:
    """Return the record of a training that is finished."""
    whole = record | {"curve": [asdict(point) for point in curve]}
    return {name: value for name, value in whole.items() if name != BEFORE}


def write_record(folder: Path, record: Record) -> None:
    """Write a record into a run folder.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(folder / RECORD, [(json.dumps(record, indent=1) + "\n").encode()])


def read_record(folder: Path, training: str | None) -> Record | None:
    """Return the record of a run folder if it is of this training, else None.

    Args:
        folder: a run folder.
        training: SHA-256 of the training, as the notes of its classifier hold it; None: of no training.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / RECORD
    if training is None or not path.is_file():
        return None
    try:
        found: Record = parse_json(path.read_text())
        found["test"] = [[str(photo), int(k)] for photo, k in found["test"]]
        return found if found["training"] == training else None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged ({error}); train again with --overwrite, or in another --run") from error


def finished_record(folder: Path, record: Record) -> Record | None:
    """Return the record of a finished training; None if the run folder holds no classifier or no such record.

    Args:
        folder: a run folder.
        record: from `new_record`; its held-out photos, which may lie at another place now, replace those of the file.

    Raises:
        ValueError: the run folder holds another classifier, or its files are damaged.
    """
    notes = notes_of(folder / CLASSIFIER)
    if notes is None:
        return None
    training = notes.get("training")
    if training not in (record["training"], record[BEFORE]):
        raise ValueError(f"{folder}: holds a classifier of other data or settings; give --overwrite, or another --run")
    check_files(folder / CLASSIFIER)
    found = read_record(folder, training)
    if found:
        log.info("the classifier is trained already: %s", folder / CLASSIFIER)
        if found["test"] != record["test"]:
            found |= {"test": record["test"]}
            write_record(folder, found)
    return found


def held_out_scores(record: Record) -> dict[str, float]:
    """Return accuracy, in [0, 1], and mean loss on the centre crops of the held-out photos after the last epoch."""
    last = record["curve"][-1]
    return {"accuracy": last["validation_accuracy"], "loss": last["validation_loss"]}


def _key(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
