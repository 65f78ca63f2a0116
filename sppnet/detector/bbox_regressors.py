"""Box regressors of a run, beside its SVMs."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from detection import model
from detection.bbox_regression import BoxRegressor, fit_all
from detection.config import PRESETS, BoxRegressionConfig, Config
from detection.engines.this_process import ThisProcess
from detection.model_settings import MODEL, read_settings
from detection.networks.fc_head import FcFeatures
from detection.training import regressor_checkpoint
from detection.training.fingerprint import fingerprint
from detection.training.images import TrainingImages, mean_norm
from detection.training.regression_blocks import fit_all_with
from detection.training.regressor_checkpoint import RegressorParts
from sppnet.detector.overwriting import saved_without
from sppnet.detector.svms import CHECKPOINTS, TrainedSVMs
from sppnet.detector.training_images import training_images_of
from sppnet.engines import engine_of
from sppnet.errors import one_line
from sppnet.progress import log, progress
from sppnet.run import Run, exclusive
from sppnet.settings.detector import BboxRegressorSettings, SVMSettings

Settings: TypeAlias = BboxRegressorSettings | SVMSettings
FC_MIN_IOU = 0.6  # smallest overlap of a training window where regressors see fully connected layers; chosen on `val`


def train_bbox_regressors(run: Run, settings: Settings, trained: TrainedSVMs | None = None) -> model.Model:
    """Train one regressor per class, or find them trained.

    Args:
        run: holds the model; keeps the regressors in it.
        settings: name of the model, features, memory.
        trained: the SVMs and their images; None: they are loaded from the run.

    Raises:
        FileNotFoundError: the model, proposals or features are missing.
        ValueError: the run's training split is not what the SVMs were trained on, or it changed since.
        RuntimeError: another process is training this model.
    """
    folder = run.model(settings.model_name)
    with exclusive(folder):
        found = trained.model if trained else model.load(folder)
        images = trained.images if trained else training_images_of(run, found, settings)
        images.fc = _fc_features(found, settings)
        if found.regressors and not settings.overwrite:
            _check_same(found, settings, folder)
            regressor_checkpoint.remove(folder / CHECKPOINTS)  # of a process that was killed at the very end
            log.info("box regressors are trained already: %s", folder)
            return found
        if settings.overwrite:
            regressor_checkpoint.remove(folder / CHECKPOINTS)
        with saved_without(found, _without_regressors(found), folder) if found.regressors else nullcontext():
            result = _with_regressors(run, found, images, settings)
        result.save(folder)
        regressor_checkpoint.remove(folder / CHECKPOINTS)
    log.info("box regressors of %d classes: %s", sum(r is not None for r in result.regressors), folder)
    return result


def _without_regressors(found: model.Model) -> model.Model:
    notes = {name: value for name, value in found.notes.items() if name != "regression"}
    return replace(found, regressors=(), bbox_feature_scale=1.0, bbox_on_fc=False, notes=notes)


def _with_regressors(run: Run, trained: model.Model, images: TrainingImages, settings: Settings) -> model.Model:
    """The model with regressors; those of another model of the run are used if they learned from the same features."""
    config = replace(trained.config, bbox=_bbox_config(trained, settings))
    scale = config.bbox.feature_norm / mean_norm(images.views[0])
    options = (scale, config.bbox)
    key = fingerprint(images, config.svm, options)
    before = fingerprint(images, config.svm, options, with_photos=False)
    parts = RegressorParts(run.model(settings.model_name) / CHECKPOINTS, key)
    regressors = [] if settings.overwrite else _regressors_of(run, key, before)
    if not regressors:
        regressors = _fitted(images, config, scale, parts, settings)
    notes = trained.notes | {"regression": key}
    return replace(
        trained,
        config=config,
        regressors=tuple(regressors),
        bbox_feature_scale=scale,
        notes=notes,
        bbox_on_fc=images.fc is not None,
    )


def _fitted(
    images: TrainingImages, config: Config, scale: float, parts: RegressorParts, settings: Settings
) -> list[BoxRegressor | None]:
    """Newly trained regressors, with the engine of the settings if they name one."""
    difficult = config.svm.difficult
    with progress(images.n_classes, 0, "class", "box regression") as bar:

        def done(k: int) -> None:
            bar.update()

        if settings.engine is None:
            memory = int(settings.memory * 2**30)
            return fit_all(images, config.bbox, scale, difficult=difficult, memory=memory, parts=parts, on_class=done)
        engine = engine_of(settings) or ThisProcess()
        return fit_all_with(engine, images, config.bbox, scale, parts, difficult=difficult, on_class=done)


def _bbox_config(trained: model.Model, settings: Settings) -> BoxRegressionConfig:
    """The constants of the model's preset with the windows that settings ask for."""
    published = PRESETS[trained.config.preset].bbox
    default = FC_MIN_IOU if settings.bbox_features == "fc" else published.min_iou
    min_iou = default if settings.bbox_min_iou is None else settings.bbox_min_iou
    return replace(published, min_iou=min_iou, max_windows=settings.bbox_windows)


def _check_same(found: model.Model, settings: Settings, folder: Path) -> None:
    """Check that a model's regressors have learned from what settings say."""
    layer = "fc" if found.bbox_on_fc else "pool5"
    there, asked = found.config.bbox, _bbox_config(found, settings)
    if (settings.bbox_features, asked.min_iou, asked.max_windows) != (layer, there.min_iou, there.max_windows):
        windows = "" if there.max_windows is None else f" and --bbox-windows {there.max_windows}"
        raise ValueError(
            f"{folder}: holds box regressors with --bbox-features {layer} and --bbox-min-iou {there.min_iou:g}"
            f"{windows}; give these, or --overwrite, or another --run"
        )


def _fc_features(trained: model.Model, settings: Settings) -> FcFeatures | None:
    """The layers whose features the regressors see; None for pool5."""
    if settings.bbox_features == "pool5":
        return None
    if trained.fc is None:
        raise ValueError("--bbox-features fc: the SVMs learned from pool5, so there is no such layer")
    return trained.fc


def _regressors_of(run: Run, key: str, before: str) -> list[BoxRegressor | None]:
    """Those of the first model in the run with the same training; none if there is no such model.

    Models from before photos were recorded have the fingerprint `before`, without them.
    """
    for path in sorted(run.folder.glob(f"*/{MODEL}")):
        try:
            notes = read_settings(path.parent).notes
            if notes.get("regression") == (key if notes.get("photos") else before):
                log.info("box regressors of the same training: %s", path.parent)
                return list(model.load(path.parent).regressors)
        except ValueError as error:
            log.warning("box regressors are not used: %s", one_line(error))
    return []
