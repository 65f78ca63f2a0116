"""SVMs and box regressors of a run."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from tqdm import tqdm

from data.records import Dataset
from detection import model, svm
from detection.bbox_regression import BoxRegressor, fit_all
from detection.config import Config, Precision
from detection.networks import fc_initialization
from detection.networks.fc_head import FcFeatures, FcHead
from detection.training import regressor_checkpoint, svm_checkpoint
from detection.training.fingerprint import fingerprint
from detection.training.images import TrainingImages, mean_norm
from detection.training.regressor_checkpoint import RegressorParts
from sppnet.detector.features import load_proposals, open_features, usable
from sppnet.progress import log, progress
from tools.common import Run, exclusive

HEAD = "fc_head.safetensors"  # of fine-tuned layers, in the run's head folder


def training_images(run: Run) -> tuple[Dataset, TrainingImages, dict[str, Any], Config]:
    """The training split with its windows and features; how the proposals were made, and the constants."""
    name, config = run.configuration(made=True)
    dataset, split = run.train, run.options.train_split
    (proposals, made), cache = load_proposals(run, split), open_features(run, name, config)
    records = usable(run, dataset, proposals, cache)
    return dataset, TrainingImages(records, proposals, cache, config.pooling, len(dataset.classes)), made, config


def _fc_features(run: Run, images: TrainingImages, precision: Precision) -> FcFeatures | None:
    """The fully connected layers that --features asks for."""
    o, tuned = run.options, run.head / HEAD
    if o.features == "pool5":
        if o.head:
            raise ValueError("--head is of --features fc6 or fc7; the SVMs of pool5 use no such layers")
        return None
    if o.head == "random":
        return FcFeatures(FcHead.random(images.pooled_length, seed=o.seed), o.features, precision)
    if not (o.head or tuned.is_file()):
        raise ValueError(f"--features {o.features} needs layers: run finetune, or give --head FILE|imagenet|random")
    network, levels = images.cache.manifest["network"], images.pooling.levels
    head = fc_initialization.build(o.head or str(tuned), images.pooled_length, network, levels)
    return FcFeatures(head.eval(), o.features, precision)


def train_svms(run: Run) -> model.Model:
    """Train the SVMs, or find them trained."""
    dataset, images, proposals, config = training_images(run)
    config = replace(config, svm=replace(config.svm, difficult=run.options.difficult))
    images.fc = _fc_features(run, images, config.precision)
    o = run.options
    options = svm.MiningOptions(
        run.model / "training", int(o.memory * 2**30), o.solver, o.max_negatives_per_image, seed=o.seed
    )
    settings = {
        "training": fingerprint(images, config.svm, (o.solver, o.max_negatives_per_image, o.seed)),
        "data": dataset.name,
        "images": len(images),
        "proposals": proposals,
        "features": images.cache.manifest,
        "levels": list(config.pooling.levels),
        "layer": o.features,
        "head": images.fc.digest if images.fc else None,
        "svm": asdict(config.svm),
        "max_negatives_per_image": o.max_negatives_per_image,
        "solver": o.solver,
        "seed": o.seed,
    }
    with exclusive(run.model):
        found = _finished_model(run, settings)
        if found is not None:
            return found
        started = time.monotonic()
        with progress(len(images), 0, "img", "SVMs") as bar:
            svms = svm.train(images, config.svm, options, on_image=lambda n: _advance(bar, n))
        notes = settings | {"svm_seconds": round(time.monotonic() - started, 1)}
        name, weights = images.cache.manifest["network"], images.cache.manifest["weights"]
        trained = model.Model(
            dataset.classes, config, name, weights, svms, notes=notes, fc=images.fc, proposals=proposals
        )
        trained.save(run.model)
        svm_checkpoint.remove(options.folder)
    if absent := [name for name, bias in zip(dataset.classes, svms.bias.tolist(), strict=True) if bias == -math.inf]:
        log.warning("no object of %s to learn from: never detected; label some", ", ".join(absent))
    log.info("SVMs of %d classes: %s", len(dataset.classes), run.model)
    return trained


def _finished_model(run: Run, settings: dict[str, Any]) -> model.Model | None:
    """The model in the run, if there is one of this training.

    Raises:
        ValueError: there is one of another training, and --overwrite was not given.
    """
    if run.options.overwrite or not (run.model / model.MODEL).is_file():
        return None
    found = model.load(run.model)
    if found.notes.get("training") != settings["training"]:
        flat, asked = _flat(found.notes), _flat(settings)
        name = next((n for n in asked if n != "training" and asked[n] != flat.get(n)), None)
        what = f"{name} {flat.get(name)!r}, now {asked[name]!r}" if name else "other objects, proposals or head"
        raise ValueError(f"{run.model}: holds a model of {what}; give --overwrite, or another --run")
    log.info("SVMs are trained already: %s", run.model)
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level of dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _advance(bar: tqdm, done: int) -> None:
    bar.update(done - bar.n)


def train_bbox_regressors(run: Run) -> model.Model:
    """Train one regressor a class on the pool5 features of the images the SVMs of the run were trained on."""
    with exclusive(run.model):
        trained = model.load(run.model)
        if trained.regressors and not run.options.overwrite:
            log.info("box regressors are trained already: %s", run.model)
            return trained
        trained = _with_regressors(run, trained)
        trained.save(run.model)
        regressor_checkpoint.remove(run.model / "training")
    log.info("box regressors of %d classes: %s", sum(r is not None for r in trained.regressors), run.model)
    return trained


def images_of(run: Run, trained: model.Model) -> TrainingImages:
    """The images that a model of the run was trained on, with their pool5 features.

    Raises:
        ValueError: the split is not the one that the model learned from.
    """
    config = trained.config
    proposals, _ = load_proposals(run, run.options.train_split, trained.proposals)
    cache = open_features(run, trained.network, config, trained.weights_hash)
    dataset = run.dataset(run.options.train_split, trained.classes)
    images = TrainingImages(
        usable(run, dataset, proposals, cache), proposals, cache, config.pooling, len(trained.classes)
    )
    data, count = trained.notes.get("data"), trained.notes.get("images")
    if (data, count) != (dataset.name, len(images)):
        raise ValueError(
            f"{run.model}: SVMs of {data}, {count} images; what is added to them must learn from the same, "
            f"got {dataset.name}, {len(images)}; give that --train-split and --limit"
        )
    return images


def _with_regressors(run: Run, trained: model.Model) -> model.Model:
    """The model with regressors of all classes: as they see pool5 alone, those of another model of the run serve."""
    config, images = trained.config, images_of(run, trained)
    scale = config.bbox.feature_norm / mean_norm(images)
    key = fingerprint(images, config.svm, (scale, config.bbox))
    parts = RegressorParts(run.model / "training", key)
    regressors = [] if run.options.overwrite else _regressors_of(run, key)
    if not regressors:
        with progress(len(trained.classes), 0, "class", "box regression") as bar:
            regressors = fit_all(
                images, config.bbox, scale, difficult=config.svm.difficult, parts=parts, on_class=lambda k: bar.update()
            )
    notes = trained.notes | {"regression": key}
    return replace(trained, regressors=tuple(regressors), bbox_feature_scale=scale, notes=notes)


def _regressors_of(run: Run, key: str) -> list[BoxRegressor | None]:
    """Those of the first model in the run that were trained alike; none if there is no such model."""
    for path in sorted(run.folder.glob(f"*/{model.MODEL}")):
        if json.loads(path.read_text("utf-8")).get("notes", {}).get("regression") == key:
            log.info("box regressors of the same training: %s", path.parent)
            return list(model.load(path.parent).regressors)
    return []
