"""SVMs and box regressors of a run."""

from __future__ import annotations

import functools
import itertools
import logging
import time
from dataclasses import replace

from tqdm import tqdm

from data.records import Dataset
from detection import checkpoint, model, svm
from detection.bbox_regression import BoxRegressor, fit, training_blocks
from detection.checkpoint import RegressorParts, fingerprint
from detection.config import Config
from detection.samples import TrainingImages, mean_norm

from .common import Run, exclusive, progress
from .extraction import load_proposals, open_features, usable

log = logging.getLogger("sppnet")


def training_images(run: Run) -> tuple[Dataset, TrainingImages, str, Config]:
    """The training split with its windows and features; the network's name and the constants."""
    name, config = run.configuration(made=True)
    config = replace(config, svm=replace(config.svm, difficult=run.options.difficult))
    dataset, split = run.train, run.options.train_split
    proposals, cache = load_proposals(run, split), open_features(run, name, config.pooling.scales)
    records = usable(run, dataset, proposals, cache)
    return dataset, TrainingImages(records, proposals, cache, config.pooling, len(dataset.classes)), name, config


def train_svms(run: Run) -> model.Model:
    """Train the SVMs, or find them trained."""
    dataset, images, name, config = training_images(run)
    o = run.options
    options = svm.MiningOptions(
        run.model / "training", int(o.memory * 2**30), o.solver, o.max_negatives_per_image, seed=o.seed
    )
    key = fingerprint(images, config.svm, (o.solver, o.max_negatives_per_image, o.seed))
    with exclusive(run.model):
        found = _finished_model(run, key)
        if found is not None:
            return found
        started = time.monotonic()
        with progress(len(images), 0, "img", "SVMs") as bar:
            svms = svm.train(images, config.svm, options, on_image=lambda n: _advance(bar, n))
        notes = {
            "training": key,
            "data": dataset.name,
            "images": len(images),
            "max_negatives_per_image": o.max_negatives_per_image,
            "solver": o.solver,
            "seed": o.seed,
            "svm_seconds": round(time.monotonic() - started, 1),
        }
        manifest = images.cache.manifest
        trained = model.Model(dataset.classes, config, name, manifest["weights"], svms, notes=notes)
        trained.save(run.model)
        checkpoint.remove(options.folder)
    log.info("SVMs of %d classes: %s", len(dataset.classes), run.model)
    return trained


def _finished_model(run: Run, key: str) -> model.Model | None:
    """The model in the run, if there is one of this training.

    Raises:
        ValueError: there is one of another training, and --overwrite was not given.
    """
    if run.options.overwrite or not (run.model / model.MODEL).is_file():
        return None
    found = model.load(run.model)
    if found.notes.get("training") != key:
        raise ValueError(
            f"{run.model}: holds a model of other data or settings ({found.notes.get('data')}, "
            f"{found.network}, scales {found.config.pooling.scales}); give --overwrite, or another --run"
        )
    log.info("SVMs are trained already: %s", run.model)
    return found


def _advance(bar: tqdm, done: int) -> None:
    bar.update(done - bar.n)


def train_bbox_regressors(run: Run) -> model.Model:
    """Train one regressor a class on the features the SVMs of the run were trained on."""
    trained = model.load(run.model)
    config = trained.config
    proposals = load_proposals(run, run.options.train_split)
    cache = open_features(run, trained.network, config.pooling.scales, trained.weights_hash)
    dataset = run.dataset(run.options.train_split, trained.classes)
    images = TrainingImages(
        usable(run, dataset, proposals, cache), proposals, cache, config.pooling, len(trained.classes)
    )
    data, count = trained.notes.get("data"), trained.notes.get("images")
    if (data, count) != (dataset.name, len(images)):
        raise ValueError(
            f"{run.model}: SVMs of {data}, {count} images; box regressors must learn from the same, "
            f"got {dataset.name}, {len(images)}; give that --train-split and --limit"
        )
    with exclusive(run.model):
        if trained.regressors and not run.options.overwrite:
            log.info("box regressors are trained already: %s", run.model)
            return trained
        scale = config.bbox.feature_norm / mean_norm(images)
        parts = RegressorParts(run.model / "training", fingerprint(images, config.svm, (scale, config.bbox)))
        regressors: list[BoxRegressor | None] = []
        with progress(len(trained.classes), 0, "class", "box regression") as bar:
            for k in range(len(trained.classes)):
                regressors.append(parts.get(k, functools.partial(_fit_class, images, k, config, scale)))
                bar.update()
        trained = trained.with_regressors(regressors, scale)
        trained.save(run.model)
        parts.remove()
    log.info("box regressors of %d classes: %s", sum(r is not None for r in regressors), run.model)
    return trained


def _fit_class(images: TrainingImages, k: int, config: Config, scale: float) -> BoxRegressor | None:
    blocks = training_blocks(images, k, config.bbox, scale, config.svm.difficult)
    first = next(blocks, None)
    return None if first is None else fit(itertools.chain([first], blocks), ridge=config.bbox.ridge)
