"""Linear SVMs of a run."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from data.names import listed
from detection import model, svm
from detection.config import Precision, View
from detection.linear_detectors import LinearDetectors, mean_of
from detection.model_settings import MODEL
from detection.networks import fc_initialization
from detection.networks.fc_head import BOTH, FcFeatures, FcHead, Layer
from detection.networks.softmax import SoftmaxClassifier
from detection.training import svm_checkpoint
from detection.training.fingerprint import changed_data, data_digests, fingerprint
from detection.training.images import TrainingImages, feature_sample
from sppnet.detector.head_files import CLASSIFIER, HEAD, SETTINGS, undamaged
from sppnet.detector.overwriting import load_finished
from sppnet.detector.training_images import TrainingSet, in_views, open_training_set
from sppnet.engines import engine_of
from sppnet.progress import advance, log, progress
from sppnet.run import Run, exclusive, set_aside
from sppnet.settings.detector import SVMSettings

CHECKPOINTS = "training"  # folder within the model's, while it is trained
DATA_NOTES = {"training", "photos", "annotations", "category_ids"}  # notes on the data, not on settings
ROUNDS = "rounds"  # how a model was mined, in its notes; one after the other if they do not say
COMPRESSED = 100  # windows per photo on whose features layers are compressed
IF_GIVEN = ("train_views", "context", "energy", "mining")  # settings that are noted only where they are given


@dataclass(frozen=True, eq=False)
class TrainedSVMs:
    """The result of SVM training.

    Attributes:
        model: the detector without its convolutions.
        images: what it was trained on, with the features of the SVMs, for the stages that follow.
    """

    model: model.Model
    images: TrainingImages


def train_svms(run: Run, settings: SVMSettings) -> TrainedSVMs:
    """Train one SVM per class, or find them trained; if photos or annotations changed since, train again.

    Args:
        run: holds proposals and features; keeps the model.
        settings: layer, memory, solver; an engine to mine in rounds.

    Raises:
        FileNotFoundError: proposals, features or fully connected layers are missing.
        ValueError: the settings do not fit the data, or the run holds a model of another training.
        RuntimeError: another process is training this model.
    """
    data = open_training_set(run, settings)
    cost = data.config.svm.cost if settings.cost is None else settings.cost
    constants = replace(data.config.svm, difficult=settings.difficult, cost=cost)
    config = replace(data.config, svm=constants)
    views = View.parse_all(settings.train_views or ())
    config = replace(config, best_views=views) if views else config
    data = replace(data, config=config, images=in_views(run, data.images, views, config))
    data.images.fc = _fc_features(run, data.images, settings, config.precision)
    notes = _notes(settings, data)
    folder = run.model(settings.model_name)
    with exclusive(folder), set_aside(*([folder / MODEL] if settings.overwrite else [])):
        trained = None if settings.overwrite else _finished(run, settings, data, notes)
        if trained or settings.overwrite:
            _remove_checkpoints(folder / CHECKPOINTS)
        if trained is None:
            trained = _train(run, settings, data, notes)
    return TrainedSVMs(trained, data.images)


def _train(run: Run, s: SVMSettings, data: TrainingSet, notes: dict[str, Any]) -> model.Model:
    images, config, folder = data.images, data.config, run.model(s.model_name)
    options = svm.MiningOptions(
        folder / CHECKPOINTS,
        int(s.memory * 2**30),
        s.solver,
        s.max_negatives_per_image,
        s.seed,
        rounds=s.engine is not None,
    )
    parts = parts_of(images, options, both=s.features == BOTH)
    started = time.monotonic()
    with progress(len(images), 0, "img", "SVMs") as bar:
        found = svm.train_together(parts, config.svm, partial(advance, bar), engine_of(s))
    notes = notes | {"svm_seconds": round(time.monotonic() - started, 1)}
    name, weights = images.cache.manifest["network"], images.cache.manifest["weights"]
    classes = data.dataset.classes
    svms, images.fc = together(found, images.fc)
    svms = with_softmax(svms, run, s.softmax_weight)
    trained = model.Model(classes, config, name, weights, svms, notes=notes, fc=images.fc, proposals=data.proposals)
    trained.save(folder)
    _remove_checkpoints(folder / CHECKPOINTS, [part.options.folder for part in parts])
    if absent := [name for name, bias in zip(classes, svms.bias.tolist(), strict=True) if bias == -math.inf]:
        log.warning("no training object of %s: never detected; label some", listed(absent))
    log.info("SVMs of %d classes: %s", len(classes), folder)
    return trained


def _remove_checkpoints(folder: Path, finished: Sequence[Path] | None = None) -> None:
    """Delete the checkpoints within a folder, also those that a killed process or a training on other layers left.

    Args:
        folder: of the checkpoints.
        finished: folders whose finished trainings stay; None: all stay.
    """
    for path in folder.rglob(svm_checkpoint.FILE):
        svm_checkpoint.remove(path.parent)
    for path in folder.rglob(svm_checkpoint.FINISHED):
        if finished is not None and path.parent not in finished:
            path.unlink()


def parts_of(images: TrainingImages, options: svm.MiningOptions, both: bool) -> list[svm.Part]:
    """The trainings whose SVMs make up a model's: one, or one on pool5 and one on fc7.

    Args:
        images: with the layers of the model, if any.
        options: of a single training.
        both: the SVMs learn from pool5 and from fc7.
    """
    if not both:
        return [svm.Part(images, options)]
    assert images.fc is not None
    fc7 = FcFeatures(images.fc.head.with_detectors(None), "fc7", images.fc.precision)
    return [
        svm.Part(images.with_fc(fc), replace(options, folder=options.folder / name))
        for name, fc in (("pool5", None), ("fc7", fc7))
    ]


def together(found: Sequence[LinearDetectors], fc: FcFeatures | None) -> tuple[LinearDetectors, FcFeatures | None]:
    """The SVMs of all parts as one, with the layers whose features they use."""
    if len(found) == 1:
        return found[0], fc
    assert fc is not None
    pool5, fc7 = found
    return mean_of(pool5, fc7, fc)


def _notes(s: SVMSettings, data: TrainingSet) -> dict[str, Any]:
    """All that decides the result, and its fingerprint."""
    images, config = data.images, data.config
    return {
        "training": fingerprint(images, config.svm, _options(s)),
        **data_digests(images, data.dataset.classes),
        "category_ids": list(data.dataset.category_ids),
        "data": data.dataset.name,
        "images": len(images),
        "proposals": data.proposals,
        **({"train_views": list(map(str, View.parse_all(s.train_views)))} if s.train_views else {}),
        "features": images.cache.manifest,
        "levels": list(config.pooling.levels),
        **({"context": list(config.pooling.context)} if config.pooling.context else {}),
        "layer": s.features,
        "head": images.fc.digest if images.fc else None,
        "svm": asdict(config.svm),
        "max_negatives_per_image": s.max_negatives_per_image,
        "solver": s.solver,
        "seed": s.seed,
        **({"mining": ROUNDS} if s.engine else {}),
        **({"energy": s.energy} if s.energy not in (None, 1) else {}),
        **({"softmax_weight": s.softmax_weight} if s.softmax_weight else {}),
    }


def _options(s: SVMSettings) -> tuple[object, ...]:
    options: tuple[object, ...] = (s.solver, s.max_negatives_per_image, s.seed)
    options += (ROUNDS,) if s.engine else ()
    return (*options, BOTH) if s.features == BOTH else options


def with_softmax(svms: LinearDetectors, run: Run, factor: float) -> LinearDetectors:
    """The SVMs, with so many times the log-odds of the run's softmax layer added to their margins.

    Raises:
        FileNotFoundError: there is no softmax layer.
        ValueError: it is damaged.
    """
    if not factor:
        return svms
    undamaged(run.head)
    softmax = SoftmaxClassifier.load(run.head / CLASSIFIER, svms.n_classes)
    return svms + softmax.log_odds(factor, svms.feature_scale)


def _fc_features(run: Run, images: TrainingImages, s: SVMSettings, precision: Precision) -> FcFeatures | None:
    """The fully connected layers that --features asks for."""
    tuned = run.head / HEAD
    if s.features == "pool5":
        if given := next((name for name in ("head", "energy") if getattr(s, name) is not None), None):
            raise ValueError(f"--{given} goes with --features fc6, fc7 or pool5+fc7; SVMs on pool5 use no such layers")
        return None
    layer: Layer = "fc6" if s.features == "fc6" else "fc7"
    if not (s.head or (run.head / SETTINGS).is_file()):
        raise ValueError(
            f"--features {s.features} needs layers: run `sppnet stage finetune`, or give --head FILE|imagenet|random"
        )
    if not s.head:
        undamaged(run.head)
    if s.head == "random":
        head = FcHead.random(images.pooled_length, seed=s.seed)
    else:
        network = images.cache.manifest["network"]
        head = fc_initialization.build(s.head or str(tuned), images.pooled_length, network, images.pooling).eval()
    if s.energy is not None and s.energy < 1:
        head = head.compressed(feature_sample(images.views[0], n_boxes=COMPRESSED), s.energy)
    return FcFeatures(head, layer, precision)


def _finished(run: Run, s: SVMSettings, data: TrainingSet, notes: dict[str, Any]) -> model.Model | None:
    """The model in the run, if there is one of this training; None if its photos or annotations changed.

    Raises:
        ValueError: there is one of other settings.
    """
    folder = run.model(s.model_name)
    if not (folder / MODEL).is_file():
        return None
    found = load_finished(folder)
    changed = changed_data(found.notes, notes)
    if not changed and found.classes == data.dataset.classes and _same_training(found.notes, notes, s, data):
        log.info("SVMs are trained already: %s", folder)
        return _with_category_ids(_with_softmax_weight(found, run, s), notes["category_ids"], folder)
    flat, asked = _flat(found.notes), _flat(json.loads(json.dumps(notes)))
    derived = {"head"} if changed and s.head is None else set()  # the layers of the run were made anew
    names = [*IF_GIVEN, *asked]  # in this order: energy decides the digest of the head too
    name = next((n for n in names if n not in DATA_NOTES | derived and asked.get(n) != flat.get(n)), None)
    if name:
        what = f"{name} {flat.get(name)!r}, now {asked.get(name)!r}"
        raise ValueError(f"{folder}: holds a model of {what}; give --overwrite, or another --run")
    what = " and ".join(changed or ["photos, annotations or proposals"])
    log.info("%s changed since this model was trained; training it again: %s", what, folder)
    return None


def _same_training(there: Mapping[str, Any], notes: Mapping[str, Any], s: SVMSettings, data: TrainingSet) -> bool:
    """Whether the fingerprints agree; one from before photos were recorded does not contain them."""
    if there.get("photos"):
        return bool(there.get("training") == notes["training"])
    return bool(there.get("training") == fingerprint(data.images, data.config.svm, _options(s), with_photos=False))


def _with_softmax_weight(found: model.Model, run: Run, s: SVMSettings) -> model.Model:
    """The model with the weight that the softmax layer has now; SVMs and regressors stay, probabilities do not."""
    before = found.notes.get("softmax_weight", 0.0)
    if before == s.softmax_weight:
        return found
    log.info("the softmax layer has a weight of %g instead of %g in the margins from now on", s.softmax_weight, before)
    svms = with_softmax(found.svms, run, s.softmax_weight - before)
    found = replace(found, svms=svms, notes=found.notes | {"softmax_weight": s.softmax_weight}, calibration=None)
    found.save(run.model(s.model_name))
    return found


def _with_category_ids(found: model.Model, ids: list[Any], folder: Path) -> model.Model:
    """The model with the category ids that the data set has now; they decide nothing but how detections are written."""
    if found.notes.get("category_ids", []) == ids:
        return found
    found = replace(found, notes=found.notes | {"category_ids": ids})
    found.save(folder)
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level of dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
