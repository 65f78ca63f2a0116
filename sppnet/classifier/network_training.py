"""A trained classifier of a run."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from tools.common import Options, exclusive
from tqdm import tqdm

from classification import network as networks
from classification.augment import Augmentation, ColourComponents
from classification.config import CROP, PYRAMIDS, TrainConfig
from classification.distributed import ProcessGroup, local_device
from classification.extractor import Extractor
from classification.model import MODEL, notes_of, softmax_model
from classification.network import SPPNet
from classification.photos import CentreViews, DecodedPhotos, TrainingViews
from classification.training import CHECKPOINT, EpochPoint, Training, TrainOptions
from classification.views import View
from data.class_folders import LabelledPhotos
from detection import network
from detection.files import write_atomically
from detection.network import ConvBody, resolve_device
from sppnet.classifier import photos
from sppnet.classifier.photos import ALL, refuse
from sppnet.detector.finetuning import write_curve
from sppnet.progress import log, progress

FROM_SCRATCH = ("zf5", "zf5-small")
CLASSIFIER, SETTINGS = "classifier", "training.json"
COLOUR_PHOTOS = 2_000  # that the principal components of colour are taken of


def train(o: Options, folder: Path) -> dict[str, Any]:
    """Train on the photos of --data, and leave a classifier in the run."""
    config = _config(o)
    splits = photos.of_folder(o)
    train_photos, held_out = photos.halves(splits[ALL], o.train_share, o.seed) if ALL in splits else splits.values()
    device = local_device(resolve_device(o.device))
    processes = ProcessGroup.join(device)
    try:
        if processes.rank:
            o.json = None
            log.setLevel(logging.WARNING)  # one bar is enough
            return _train(o, folder, config, (train_photos, held_out), device, processes)
        with exclusive(folder / CLASSIFIER):
            return _train(o, folder, config, (train_photos, held_out), device, processes)
    finally:
        processes.leave()


def _train(
    o: Options,
    folder: Path,
    config: TrainConfig,
    data: tuple[LabelledPhotos, LabelledPhotos],
    device: torch.device,
    processes: ProcessGroup,
) -> dict[str, Any]:
    photos, held_out = data
    settings = _settings(o, config, photos, held_out)
    done = None if o.overwrite else _finished(folder, settings["training"])
    if done:
        return done
    decoded, validation = DecodedPhotos(photos.paths), DecodedPhotos(held_out.paths)
    net = _network(o, len(photos.classes))
    seen = net.body.preprocessing
    some = map(decoded.__getitem__, range(0, len(decoded), -(-len(decoded) // COLOUR_PHOTOS)))
    colours = ColourComponents.fit(some, o.seed) if config.colour else None
    views = TrainingViews(decoded, photos.labels, Augmentation(seen, colours, config.colour, config.mirror), o.seed)
    options = TrainOptions(folder, device, o.seed, o.precision != "fp32", o.workers)
    if o.overwrite:
        _clear(folder, processes)
    training = Training(
        net, views, CentreViews(validation, held_out.labels, seen), config, options, settings["training"], processes
    )
    with progress(config.epochs, 0, "epoch", "training") as bar:
        training.run(lambda point: _show(bar, point))
    return _keep(folder, training, photos, settings) if processes.rank == 0 else {}


def _config(o: Options) -> TrainConfig:
    """What the flags say about the training.

    Raises:
        ValueError: they contradict each other.
    """
    random = any(len(s) > 1 for s in o.sizes)
    if random and len(o.sizes) > 1:
        raise ValueError("--sizes: give sizes to take in turn, or one range, not both")
    found = tuple(v for s in o.sizes for v in s)
    if o.pyramid == "none" and found != (CROP,):
        raise ValueError(f"--pyramid none: a network without SPP is trained at {CROP} pixels; leave --sizes out")
    if max(found) > CROP:
        raise ValueError(f"--sizes {max(found)}: crops have {CROP} pixels; give {CROP} or less")
    if not 0 <= o.dropout < 1:
        raise ValueError(f"--dropout {o.dropout}: expected 0 or more, less than 1")
    if not 0 <= o.colour < math.inf:
        raise ValueError(f"--colour {o.colour}: expected 0 or more")
    if o.norm and o.batch == 1:
        raise ValueError("--batch 1: one photo has no statistics to be normalised by; give 2 or more, or --no-norm")
    if o.start == "random":
        refuse(o, "--start random takes no weights", "weights")
    return TrainConfig(found, random, o.epochs, o.batch, o.rate, o.patience, mirror=o.mirror, colour=o.colour)


def _network(o: Options, n_classes: int) -> SPPNet:
    """The network to train."""
    start = o.start or ("random" if o.backbone in FROM_SCRATCH and o.weights is None else "frozen")
    body: ConvBody
    if start == "random":
        body = networks.random_body(o.backbone, o.seed)
    else:
        body = network.build(o.backbone, o.weights or "pretrained")
        body.layers.requires_grad_(start == "tuned")
    levels = None if o.pyramid == "none" else PYRAMIDS[o.pyramid]
    net = networks.build(body, n_classes, levels, o.width, o.seed, o.norm)
    net.head.dropout.p = o.dropout
    net.check((min(min(s) for s in o.sizes),) * 2)
    return net


def _settings(o: Options, config: TrainConfig, photos: LabelledPhotos, held_out: LabelledPhotos) -> dict[str, Any]:
    """All that decides the result, and its digest."""
    network_flags = {name: getattr(o, name) for name in ("backbone", "start", "pyramid", "width", "norm", "dropout")}
    weights = hashlib.sha256(o.weights.read_bytes()).hexdigest() if o.weights else None
    settings: dict[str, Any] = {
        "data": photos.name,
        "classes": list(photos.classes),
        "photos": len(photos),
        "held_out": len(held_out),
        **network_flags,
        "weights": weights,
        "precision": o.precision,
        "seed": o.seed,
        "config": asdict(config),
    }
    with ThreadPoolExecutor() as threads:
        files = [list(threads.map(_digest, part.paths)) for part in (photos, held_out)]
    truths = [part.truth.tolist() for part in (photos, held_out)]
    settings["test"] = [[str(p.resolve()), int(k)] for p, k in zip(held_out.paths, held_out.labels, strict=True)]
    settings["training"] = hashlib.sha256(json.dumps([settings, files, truths]).encode()).hexdigest()
    return settings


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _finished(folder: Path, key: str) -> dict[str, Any] | None:
    """What the run holds of this training already.

    Raises:
        ValueError: it holds another classifier, or its files are damaged.
    """
    notes = notes_of(folder / CLASSIFIER)
    if notes is None:
        return None
    if notes.get("training") != key:
        raise ValueError(f"{folder}: holds a classifier of other data or settings; give --overwrite, or another --run")
    found = settings_of(folder, key)
    if found:
        log.info("the classifier is trained already: %s", folder / CLASSIFIER)
    return found


def settings_of(folder: Path, key: str | None) -> dict[str, Any] | None:
    """The settings that a training left in its run, the held-out photos among them; None if it left none.

    Raises:
        ValueError: they are damaged.
    """
    path = folder / SETTINGS
    if key is None or not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        found["test"] = [[str(photo), int(k)] for photo, k in found["test"]]
        return found if found["training"] == key else None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged ({error}); train again with --overwrite, or in another --run") from error


def _clear(folder: Path, processes: ProcessGroup) -> None:
    """Take away what a run holds, so that the training starts anew and, interrupted, goes on without --overwrite."""
    if processes.rank == 0:
        for path in (folder / CHECKPOINT, folder / SETTINGS, folder / CLASSIFIER / MODEL):
            path.unlink(missing_ok=True)
    processes.barrier()


def _show(bar: tqdm, point: EpochPoint) -> None:
    held_out = "" if point.validation_accuracy is None else f"; held out {point.validation_accuracy:.3f}"
    log.debug("epoch %d, %d pixels: accuracy %.3f%s", point.epoch, point.size, point.accuracy, held_out)
    bar.set_postfix_str(f"loss {point.loss:.3f}{held_out}", refresh=False)
    bar.update(point.epoch - bar.n)


def _keep(folder: Path, training: Training, photos: LabelledPhotos, settings: dict[str, Any]) -> dict[str, Any]:
    """Write the classifier, the curve and the settings; the checkpoint goes."""
    net = training.net
    own, view = not net.frozen, View("crop") if net.fixed_size else View("full")
    notes = {name: settings[name] for name in ("data", "photos", "pyramid", "seed", "config", "training")}
    model = softmax_model(
        Extractor.of(net), net.fc8, classes=photos.classes, view=view, own_convolutions=own, notes=notes
    )
    model.save(folder / CLASSIFIER)
    points = [replace(p, seconds=0.0) for p in training.curve]
    write_curve(folder, points, "epoch")
    result = settings | {"curve": [asdict(p) for p in training.curve]}
    write_atomically(folder / SETTINGS, [(json.dumps(result, indent=1) + "\n").encode()])
    (folder / CHECKPOINT).unlink(missing_ok=True)
    last = training.curve[-1]
    right = f"{100 * (last.validation_accuracy or 0):.1f} % of {settings['held_out']} held-out photos right"
    print(f"{right} (centre crops) after {last.epoch} epochs: {folder / CLASSIFIER}")
    return result
