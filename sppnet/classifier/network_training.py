"""Training of a network by gradient descent on a run's photos."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from classification import network as networks
from classification.augment import Augmentation, ColourComponents
from classification.config import CROP, PYRAMIDS, TrainConfig
from classification.extractor import Extractor
from classification.model import MODEL, softmax_model
from classification.network import SPPNet
from classification.photos import CentreViews, DecodedPhotos, TrainingViews
from classification.training import CHECKPOINT, EpochPoint, Training, TrainOptions
from classification.views import View
from data.class_folders import LabelledPhotos
from detection import network
from detection.network import ConvBody, resolve_device
from detection.training.distributed import ProcessGroup, local_device
from sppnet.classifier.photos import ALL, CLASSIFIER, divide_by_share, photos_of_folder, refuse, run_folder
from sppnet.classifier.training_record import RECORD, Record, finished_record, new_record, with_curve, write_record
from sppnet.curves import write_curve
from sppnet.progress import advance, log, progress
from sppnet.run import exclusive, set_aside
from sppnet.settings.classifier import NetworkTrainingSettings

FROM_SCRATCH = ("zf5", "zf5-small")
COLOUR_PHOTOS = 2_000  # at most so many photos are used for the principal components of colour


def train_network(settings: NetworkTrainingSettings) -> Record:
    """Train a network on labelled photos and keep it in the run folder, or find it trained.

    Where torchrun started several processes, each of them calls this function; they share every batch.

    Returns:
        the record of the training, as training.json holds it.

    Raises:
        FileNotFoundError: there are no such photos, or no such network.
        ValueError: the photos or settings cannot be used, or the run holds another classifier.
        RuntimeError: another process is working on the classifier.
        OSError: a file cannot be read or written.
    """
    s, folder, config = settings, run_folder(settings), train_config(settings)
    splits = photos_of_folder(s.data, s.limit)
    train, held_out = divide_by_share(splits[ALL], s.train_share, s.seed) if ALL in splits else splits.values()
    processes = ProcessGroup.join(local_device(resolve_device(s.device)))
    try:
        first = processes.rank == 0
        old = [folder / RECORD, folder / CLASSIFIER / MODEL] if first and s.overwrite else []
        with exclusive(folder / CLASSIFIER) if first else contextlib.nullcontext(), set_aside(*old):
            return _train(s, folder, config, (train, held_out), processes)
    finally:
        processes.leave()


def start_of(settings: NetworkTrainingSettings) -> str:
    """Return how the convolutions start: "random", "frozen" (pretrained and kept) or "tuned" (trained further)."""
    scratch = settings.backbone in FROM_SCRATCH and settings.weights is None
    return settings.start or ("random" if scratch else "frozen")


def train_config(settings: NetworkTrainingSettings) -> TrainConfig:
    """Return the constants of the training.

    Raises:
        ValueError: settings contradict each other.
    """
    s, ranges = settings, settings.size_ranges
    random = any(len(r) > 1 for r in ranges)
    if random and len(ranges) > 1:
        raise ValueError(f"--sizes {' '.join(s.sizes)}: give sizes to take in turn, or one range, not both")
    sizes = tuple(size for r in ranges for size in r)
    if s.pyramid == "none" and sizes != (CROP,):
        raise ValueError(f"--pyramid none: a network without SPP is trained at {CROP} pixels; leave --sizes out")
    if max(sizes) > CROP:
        raise ValueError(f"--sizes {max(sizes)}: crops have {CROP} pixels; give {CROP} or less")
    if s.norm and s.batch == 1:
        raise ValueError("--batch 1: batch normalisation needs two or more photos; give 2 or more, or --no-norm")
    if s.start == "random":
        refuse(s, "--start random uses no weights", "weights")
    return TrainConfig(sizes, random, s.epochs, s.batch, s.rate, s.patience, mirror=s.mirror, colour=s.colour)


def _train(
    s: NetworkTrainingSettings,
    folder: Path,
    config: TrainConfig,
    data: tuple[LabelledPhotos, LabelledPhotos],
    processes: ProcessGroup,
) -> Record:
    record = new_record(s, config, *data)
    done = None if s.overwrite else finished_record(folder, record)
    if done:
        if processes.rank == 0:
            (folder / CHECKPOINT).unlink(missing_ok=True)  # left by a process that was killed at the very end
        return done
    training = _prepared(s, folder, config, data, processes, record["training"])
    if s.overwrite:
        _clear(folder, processes)
    with progress(config.epochs, 0, "epoch", "training") as bar:
        training.run(lambda point: _show(bar, point))
    record = with_curve(record, training.curve)
    if processes.rank == 0:
        _save(folder, training, data[0].classes, record)
    processes.barrier()  # until the classifier is there for the others, too
    return record


def _prepared(
    s: NetworkTrainingSettings,
    folder: Path,
    config: TrainConfig,
    data: tuple[LabelledPhotos, LabelledPhotos],
    processes: ProcessGroup,
    key: str,
) -> Training:
    """The training, ready to begin or continue."""
    train, held_out = data
    photos, validation_photos = DecodedPhotos(train.paths), DecodedPhotos(held_out.paths)
    net = _initial_network(s, len(train.classes))
    preprocessing = net.body.preprocessing
    augmentation = Augmentation(preprocessing, _colours(photos, s.seed) if s.colour else None, s.colour, s.mirror)
    views = TrainingViews(photos, train.labels, augmentation, s.seed)
    validation = CentreViews(validation_photos, held_out.labels, preprocessing)
    device = local_device(resolve_device(s.device))
    options = TrainOptions(folder, device, s.seed, s.precision != "fp32", s.workers)
    return Training(net, views, validation, config, options, key, processes)


def _initial_network(s: NetworkTrainingSettings, n_classes: int) -> SPPNet:
    """The network to train."""
    start = start_of(s)
    body: ConvBody
    if start == "random":
        body = networks.random_body(s.backbone, s.seed)
    else:
        body = network.build(s.backbone, s.weights or "pretrained")
        body.layers.requires_grad_(start == "tuned")
    levels = None if s.pyramid == "none" else PYRAMIDS[s.pyramid]
    net = networks.build(body, n_classes, levels, s.width, s.seed, s.norm)
    net.head.dropout.p = s.dropout
    net.check((min(map(min, s.size_ranges)),) * 2)
    return net


def _colours(photos: DecodedPhotos, seed: int) -> ColourComponents:
    """Principal components of the colours of evenly spaced photos."""
    step = -(-len(photos) // COLOUR_PHOTOS)
    return ColourComponents.fit((photos[i] for i in range(0, len(photos), step)), seed)


def _clear(folder: Path, processes: ProcessGroup) -> None:
    """Remove the checkpoint of an earlier training."""
    if processes.rank == 0:
        (folder / CHECKPOINT).unlink(missing_ok=True)
    processes.barrier()


def _show(bar: tqdm, point: EpochPoint) -> None:
    held_out = "" if point.validation_accuracy is None else f"; held out {point.validation_accuracy:.3f}"
    log.debug("epoch %d, %d pixels: accuracy %.3f%s", point.epoch, point.size, point.accuracy, held_out)
    bar.set_postfix_str(f"loss {point.loss:.3f}{held_out}", refresh=False)
    advance(bar, point.epoch)


def _save(folder: Path, training: Training, classes: tuple[str, ...], record: Record) -> None:
    """Write the classifier, the curve and the record; remove the checkpoint."""
    net = training.net
    own, view = not net.frozen, View("crop") if net.fixed_size else View("full")
    notes = {name: record[name] for name in ("data", "photos", "pyramid", "seed", "config", "training")}
    model = softmax_model(Extractor.of(net), net.fc8, classes=classes, view=view, own_convolutions=own, notes=notes)
    model.save(folder / CLASSIFIER)
    write_curve(folder, [replace(point, seconds=0.0) for point in training.curve], "epoch")
    write_record(folder, record)
    (folder / CHECKPOINT).unlink(missing_ok=True)
