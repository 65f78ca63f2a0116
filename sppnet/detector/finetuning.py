"""Fine-tuned fully connected layers of a run."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from data.names import listed
from detection.config import FinetuneConfig
from detection.finetune import CHECKPOINT, FinetuneOptions, Finetuning, WindowClassifier
from detection.network import resolve_device
from detection.networks import fc_initialization
from detection.training import checkpoint
from detection.training.batches import WindowBatches
from detection.training.distributed import ProcessGroup, is_restarted, local_device
from detection.training.fingerprint import changed_data, data_digests, fingerprint
from detection.training.images import TrainingImages
from detection.training.subspace import Subspace
from sppnet.curves import write_curve
from sppnet.detector.head_files import SETTINGS, damage, read_notes, save, undamaged
from sppnet.detector.training_images import TrainingSet, in_view, open_training_set, train_views_flag
from sppnet.progress import advance, log, progress
from sppnet.run import Run, exclusive, set_aside
from sppnet.settings.detector import FinetuneSettings

SUBSPACE = "subspace-{}.pt"  # beside the checkpoint
SHORT = ((4_000, 1e-2), (2_000, 1e-3))  # a schedule for a CPU and a random start
VALIDATION = 0.1  # share of the photos
VALIDATION_BATCHES = 50  # 6,400 windows
VALIDATIONS, VALIDATE_EVERY = 6, 500  # so many, or after so many iterations
DATA_NOTES = {"training", "photos", "annotations", "classes"}  # notes on the data, not on settings


def finetune(run: Run, settings: FinetuneSettings) -> dict[str, Any]:
    """Train fc6, fc7 and the softmax layer on the training split, less the images held out for validation.

    Where torchrun started several processes, each of them calls this function; they share every batch, and the first
    one validates and writes.

    Args:
        run: holds proposals and features; keeps the layers in its head folder.
        settings: start, schedule, batches.

    Returns:
        settings, curve and best point, as finetune.json holds them.

    Raises:
        FileNotFoundError: proposals or features are missing.
        ValueError: the settings do not fit the data or each other, or the run holds layers of another training.
        RuntimeError: another process is fine-tuning in this run.
    """
    if settings.subspace and settings.start != "random":
        raise ValueError("--subspace goes with --start random; other layers need all of pool5")
    settings = replace(settings, overwrite=settings.overwrite and not is_restarted())
    processes = ProcessGroup.join(local_device(resolve_device(settings.device)))
    try:
        first = processes.rank == 0
        old = [run.head / SETTINGS] if first and settings.overwrite else []
        with exclusive(run.head) if first else contextlib.nullcontext(), set_aside(*old):
            return _finetune(run, settings, processes)
    finally:
        processes.leave()


def _finetune(run: Run, settings: FinetuneSettings, processes: ProcessGroup) -> dict[str, Any]:
    held_out_share = settings.validation or VALIDATION
    s, data = replace(settings, validation=held_out_share), open_training_set(run, settings)
    tuned = replace(data.config.finetune, schedule=parse_schedule(s.schedule or "short", data.config.finetune))
    train, validation = map(data.images.subset, divide(len(data.images), held_out_share, s.seed))
    further = train_views_flag(s.learned_views) if s.train_views else "--mirror"
    sources = [in_view(run, train, view, data.config, further) for view in s.learned_views]
    notes = _notes(s, data, tuned)
    before = fingerprint(data.images, data.config.svm, _options(s, tuned), with_photos=False)
    done = None if s.overwrite else _finished(run, notes, before)
    processes.barrier()  # all have looked, before the first one removes anything
    if (done or s.overwrite) and processes.rank == 0:
        _remove_checkpoints(run.head)
    processes.barrier()
    if done:
        return done
    batches = WindowBatches(sources, tuned, _block(s, tuned), s.difficult, s.seed, group=processes)
    if s.subspace:
        batches.subspace = _shared_subspace(run.head, batches, s.subspace, notes["training"], processes)
    training = _training(run, s, data, tuned, batches, validation, notes["training"])
    with progress(training.iterations, 0, "it", "fine-tuning") as bar:
        training.run(lambda done, loss: _show(bar, done, loss))
    result = _keep(run.head, training, notes, batches.subspace) if processes.rank == 0 else {}
    processes.barrier()  # until the layers are there for the others, too
    return result or undamaged(run.head)


def _training(
    run: Run,
    s: FinetuneSettings,
    data: TrainingSet,
    tuned: FinetuneConfig,
    batches: WindowBatches,
    validation: TrainingImages,
    key: str,
) -> Finetuning:
    """The training, ready to begin or continue."""
    space, first = batches.subspace, batches.group.rank == 0
    fixed = replace(tuned, random_scale=False)
    held_out = WindowBatches([validation], fixed, VALIDATION_BATCHES, seed=s.seed, subspace=space)
    _warn_of_missing(data.dataset.classes, batches)
    model = _initial(s, data, space)
    device = local_device(resolve_device(s.device))
    options = FinetuneOptions(run.head, device, s.seed, _validate_every(s, tuned), box_loss=s.box_loss)
    key += space.digest if space else ""
    return Finetuning(model, batches, [held_out.block(0)] if first else [], tuned, options, key, batches.group)


def _notes(s: FinetuneSettings, data: TrainingSet, tuned: FinetuneConfig) -> dict[str, Any]:
    """All that decides the result, and its fingerprint."""
    return {
        "training": fingerprint(data.images, data.config.svm, _options(s, tuned)),
        **data_digests(data.images, data.dataset.classes),
        "data": data.dataset.name,
        "classes": list(data.dataset.classes),
        "proposals": data.proposals,
        "features": data.images.cache.manifest,
        "start": s.start,
        "width": s.width,
        "mirror": s.mirror,
        **({"train_views": list(map(str, s.learned_views))} if s.train_views else {}),
        "difficult": s.difficult,
        "validation": s.validation,
        "block": s.block,
        "seed": s.seed,
        **({"box_loss": s.box_loss} if s.box_loss else {}),
        **({"subspace": s.subspace} if s.subspace else {}),
        "finetune": asdict(tuned),
    }


def _options(s: FinetuneSettings, tuned: FinetuneConfig) -> tuple[object, ...]:
    options: tuple[object, ...] = (tuned, s.start, s.width, s.mirror, s.validation, s.difficult, s.block, s.seed)
    options += (s.box_loss,) if s.box_loss else ()
    options += ("subspace", s.subspace) if s.subspace else ()
    return (*options, s.learned_views) if s.train_views else options


def _validate_every(s: FinetuneSettings, tuned: FinetuneConfig) -> int:
    """Iterations between two validations."""
    if s.validate_every is not None:
        return s.validate_every
    return max(1, min(VALIDATE_EVERY, sum(count for count, _ in tuned.schedule) // VALIDATIONS))


def _block(s: FinetuneSettings, tuned: FinetuneConfig) -> int:
    """Batches per block; in a subspace, blocks are as large as they may be so that none is pooled in vain."""
    assert s.block
    if not s.subspace:
        return s.block
    iterations = sum(count for count, _ in tuned.schedule)
    return math.ceil(iterations / math.ceil(iterations / s.block))


def _subspace(folder: Path, batches: WindowBatches, windows: int, key: str) -> Subspace:
    """The span of so many windows; that of an interrupted training with this key is found in the folder."""
    path = folder / SUBSPACE.format(key[:16])
    state = checkpoint.load(path, key)
    if state is not None:
        return Subspace(state["basis"])
    for other in folder.glob("subspace-*"):
        other.unlink()
    found = Subspace.spanned_by(batches.sample(windows))
    checkpoint.save(path, key, basis=found.basis)
    return found


def _shared_subspace(folder: Path, batches: WindowBatches, windows: int, key: str, processes: ProcessGroup) -> Subspace:
    """The span of so many windows, which the first process finds and the others read."""
    if processes.rank:
        processes.barrier()
    found = _subspace(folder, batches, windows, key)
    if not processes.rank:
        processes.barrier()
    return found


def _initial(s: FinetuneSettings, data: TrainingSet, space: Subspace | None) -> WindowClassifier:
    """The layers to start from."""
    images, pooling = data.images, data.config.pooling
    network, length = images.cache.manifest["network"], images.pooled_length
    head = fc_initialization.build(s.start, len(space) if space else length, network, pooling, s.width, s.seed)
    if space:  # as large as the part of the layer of all of pool5 that lies in the subspace, or it learns more slowly
        assert isinstance(head.fc6, nn.Linear)
        with torch.no_grad():
            head.fc6.weight.mul_(math.sqrt(len(space) / length))
    with torch.random.fork_rng():
        torch.manual_seed(s.seed)
        return WindowClassifier(head, images.n_classes, boxes=s.box_loss > 0)


def _warn_of_missing(classes: Sequence[str], batches: WindowBatches) -> None:
    """Name the classes that the layers cannot learn."""
    there = batches.classes()
    missing = [name for k, name in enumerate(classes) if k not in there]
    if missing:
        log.warning("fine-tuning: no training image has a window of %s, which will not be found", listed(missing))


def parse_schedule(text: str, config: FinetuneConfig) -> tuple[tuple[int, float], ...]:
    """Iterations and learning rates from "short", "preset" or "ITERATIONS:RATE,ITERATIONS:RATE".

    Raises:
        ValueError: the text is none of these.
    """
    if text == "preset":
        return config.schedule
    if text == "short":
        return SHORT
    try:
        steps = tuple((int(n), float(rate)) for n, rate in (step.split(":") for step in text.split(",")))
    except ValueError:
        steps = ()
    if not steps or any(n < 1 or not rate > 0 for n, rate in steps):
        raise ValueError(
            f"--schedule: expected short, preset or ITERATIONS:RATE,..., as 4000:1e-2,2000:1e-3; got {text}"
        )
    return steps


def divide(count: int, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Divide the numbers of images at random into those to train on and those held out for validation, each ascending.

    Args:
        count: number of images.
        fraction: share that is held out.
        seed: random seed.

    Raises:
        ValueError: none is left to train on.
    """
    held_out = max(1, round(fraction * count))
    if held_out >= count:
        raise ValueError(f"--validation {fraction:g}: leaves none of {count} images to train on; give less")
    order = np.random.default_rng(seed).permutation(count).tolist()
    return sorted(order[held_out:]), sorted(order[:held_out])


def _finished(run: Run, notes: dict[str, Any], before: str) -> dict[str, Any] | None:
    """What the run holds of this training already; None if its photos or annotations changed, or layers are damaged.

    Args:
        run: may hold layers.
        notes: of the training.
        before: its fingerprint without photos, as trainings have it from before photos were recorded.

    Raises:
        ValueError: it holds layers of other settings, or their settings are damaged.
    """
    found = read_notes(run.head)
    if found is None:
        return None
    changed = changed_data(found, notes)
    if not changed and found["training"] == (notes["training"] if found.get("photos") else before):
        if damaged := damage(run.head, found):
            log.warning("%s; training the layers again", damaged)
            return None
        log.info("layers are fine-tuned already: %s", run.head)
        return found
    asked = json.loads(json.dumps(notes))
    if not changed or any(asked[name] != found.get(name) for name in asked if name not in DATA_NOTES):
        raise ValueError(f"{run.head}: holds layers of other data or settings; give --overwrite, or another --run")
    what = " and ".join(changed)
    log.info("%s changed since these layers were trained; training them again: %s", what, run.head)
    return None


def _show(bar: tqdm, done: int, loss: float) -> None:
    bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    advance(bar, done)


def _keep(folder: Path, training: Finetuning, notes: dict[str, Any], space: Subspace | None) -> dict[str, Any]:
    """Write layers, curve and settings; remove the checkpoint."""
    head = training.model.head.cpu().plain()
    write_curve(folder, training.curve)
    best = max(training.curve, key=lambda p: p.validation_ap)
    points = {"curve": [asdict(p) for p in training.curve], "best": asdict(best)}
    result = save(folder, space.expand(head) if space else head, training.model.fc8.cpu(), notes | points)
    _remove_checkpoints(folder)
    log.info("fc6, fc7 and softmax layer of iteration %d: %s", best.iteration, folder)
    return result


def _remove_checkpoints(folder: Path) -> None:
    for file in (folder / CHECKPOINT, *folder.glob("subspace-*")):
        file.unlink(missing_ok=True)
