"""Fine-tuned layers of a run."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from detection.config import FinetuneConfig
from detection.files import write_atomically
from detection.finetune import CHECKPOINT, FinetuneOptions, Finetuning, WindowClassifier
from detection.network import resolve_device
from detection.networks import fc_initialization
from detection.training.batches import WindowBatches
from detection.training.fingerprint import fingerprint
from detection.training.images import TrainingImages
from detection.weights.state_dict import write_state
from sppnet.detector.features import open_features
from sppnet.detector.svms import HEAD, training_images
from sppnet.progress import log, progress
from tools.common import Run, exclusive

CLASSIFIER, SETTINGS, CURVE = "classifier.safetensors", "finetune.json", "curve"
SHORT = ((4_000, 1e-2), (2_000, 1e-3))  # from a random start, for a CPU
VALIDATION_BATCHES = 50  # 6,400 windows


def finetune(run: Run) -> dict[str, Any]:
    """Train fc6, fc7 and the softmax layer on the training split, less the images held out for validation."""
    o = run.options
    dataset, images, proposals, config = training_images(run)
    tuned = replace(config.finetune, schedule=_schedule(o.schedule, config.finetune))
    train, validation = _split(images, o.validation, o.seed)
    sources = [train]
    if o.mirror:
        cache = open_features(run, images.cache.manifest["network"], config, mirrored=True)
        sources.append(
            TrainingImages(train.records, images.proposals, cache, config.pooling, images.n_classes, mirrored=True)
        )
    how = (tuned, o.start, o.width, o.mirror, o.validation, o.difficult, o.block, o.seed)
    settings = {
        "training": fingerprint(images, config.svm, how),
        "data": dataset.name,
        "classes": list(dataset.classes),
        "proposals": proposals,
        "features": images.cache.manifest,
        "start": o.start,
        "width": o.width,
        "mirror": o.mirror,
        "difficult": o.difficult,
        "finetune": asdict(tuned),
    }
    with exclusive(run.head):
        done = _finished(run, settings["training"])
        if done:
            return done
        batches = WindowBatches(sources, tuned, o.block, o.difficult, o.seed)
        held_out = WindowBatches([validation], replace(tuned, random_scale=False), VALIDATION_BATCHES, seed=o.seed)
        _name_missing(dataset.classes, batches)
        head = fc_initialization.build(
            o.start, images.pooled_length, images.cache.manifest["network"], config.pooling.levels, o.width, o.seed
        )
        with torch.random.fork_rng():
            torch.manual_seed(o.seed)
            model = WindowClassifier(head, images.n_classes)
        options = FinetuneOptions(run.head, resolve_device(o.device), o.seed, o.validate_every)
        training = Finetuning(model, batches, [held_out.block(0)], tuned, options, settings["training"])
        with progress(training.iterations, 0, "it", "fine-tuning") as bar:
            training.run(functools.partial(_show, bar))
        return _keep(run.head, training, settings)


def _name_missing(classes: Sequence[str], batches: WindowBatches) -> None:
    """Say which classes the layers cannot learn."""
    there = batches.classes()
    missing = [name for k, name in enumerate(classes) if k not in there]
    if missing:
        log.warning("fine-tuning: no training image has a window of %s, which will not be found", ", ".join(missing))


def _schedule(text: str | None, config: FinetuneConfig) -> tuple[tuple[int, float], ...]:
    """`short`, or ITERATIONS:RATE,ITERATIONS:RATE; the preset's by default.

    Raises:
        ValueError: it cannot be read.
    """
    if text == "preset":
        return config.schedule
    if text is None or text == "short":
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


def _split(images: TrainingImages, fraction: float, seed: int) -> tuple[TrainingImages, TrainingImages]:
    """Images to train on and images to validate on."""
    held_out = max(1, round(fraction * len(images)))
    if held_out >= len(images):
        raise ValueError(f"--validation {fraction}: leaves none of {len(images)} images to train on; give less")
    order = np.random.default_rng(seed).permutation(len(images))

    def part(places: Any) -> TrainingImages:
        records = [images.records[i] for i in sorted(places.tolist())]
        return TrainingImages(records, images.proposals, images.cache, images.pooling, images.n_classes)

    return part(order[held_out:]), part(order[:held_out])


def _finished(run: Run, key: str) -> dict[str, Any] | None:
    """What the run holds of this training already.

    Raises:
        ValueError: it holds layers of another training, and --overwrite was not given.
    """
    path = run.head / SETTINGS
    if run.options.overwrite or not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    if found["training"] != key:
        raise ValueError(f"{run.head}: holds layers of other data or settings; give --overwrite, or another --run")
    log.info("layers are fine-tuned already: %s", run.head)
    return found


def _show(bar: tqdm, done: int, loss: float) -> None:
    bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    bar.update(done - bar.n)


def _keep(folder: Path, training: Finetuning, settings: dict[str, Any]) -> dict[str, Any]:
    """Write layers, curve and settings; the checkpoint goes."""
    training.model.head.cpu().plain().save(folder / HEAD)
    write_state(folder / CLASSIFIER, training.model.fc8.cpu().state_dict())
    write_curve(folder, training.curve)
    best = max(training.curve, key=lambda p: p.validation_ap)
    result = settings | {"curve": [asdict(p) for p in training.curve], "best": asdict(best)}
    write_atomically(folder / SETTINGS, [(json.dumps(result, indent=1) + "\n").encode()])
    (folder / CHECKPOINT).unlink(missing_ok=True)
    log.info("fc6, fc7 and softmax layer of iteration %d: %s", best.iteration, folder)
    return result


def write_curve(folder: Path, curve: Sequence[Any], step: str = "iteration") -> None:
    """Losses and accuracies of a training, points with a field `step`, as curve.csv and curve.png."""
    from matplotlib.figure import Figure  # a quarter of a second that other tools need not wait for

    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(curve[0])))
    writer.writeheader()
    writer.writerows(asdict(p) for p in curve)
    write_atomically(folder / f"{CURVE}.csv", [text.getvalue().encode()])
    figure = Figure(figsize=(11, 3.5), layout="constrained")
    shown = [name for name in ("loss", "accuracy", "ap") if hasattr(curve[0], f"validation_{name}")]
    for axes, name in zip(figure.subplots(1, len(shown)), shown, strict=True):
        for field, label, style in ((name, "training", "--"), (f"validation_{name}", "validation", "-")):
            if hasattr(curve[0], field):
                axes.plot([getattr(p, step) for p in curve], [getattr(p, field) for p in curve], style, label=label)
        axes.set(xlabel=step, ylabel={"ap": "average precision of windows"}.get(name, name))
        axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_atomically(folder / f"{CURVE}.png", [picture.getvalue()])
