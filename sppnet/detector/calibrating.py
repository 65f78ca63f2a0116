"""Probabilities of a detector: how often its detections are right on training photos that its SVMs have not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from data.records import ImageRecord
from detection import calibration, features, model, network, svm, voting
from detection.cache import FeatureCache
from detection.config import View
from detection.detections import Detections
from detection.ensemble import Evidence, detect_windows
from detection.evaluation import voc
from detection.features import FeaturePyramid
from detection.image import read
from detection.model import Model
from detection.networks.fc_head import BOTH
from detection.training.images import TrainingImages
from sppnet.detector.features import open_features
from sppnet.detector.finetuning import divide
from sppnet.detector.head_files import read_notes
from sppnet.detector.overwriting import saved_without
from sppnet.detector.svms import CHECKPOINTS, ROUNDS, TrainedSVMs, parts_of, together, with_softmax
from sppnet.detector.training_images import training_images_of
from sppnet.progress import log, progress
from sppnet.run import Run, exclusive
from sppnet.settings.detector import CalibrateSettings
from sppnet.settings.train import TrainSettings
from sppnet.text import percent

PARTS = 10  # most parts in which photos are held out in turn
PER_PART = 30  # a part is about so small a share of all photos; SVMs without it are nearly the model's own
FEWEST = 6  # photos that probabilities can be learned from
FEWEST_UNSEEN = 3  # the same, where layers were fine-tuned without them
FEW = 100  # photos; up to so many are all held out once
HELD_OUT = 500  # of more photos, a third is held out, but `FEW` at least and so many at most
SEED = 7
OVERLAPS = (0.3, 0.4, 0.5, 0.6)  # of two detections of a class that touch, as cells do
JUDGED_AT = (0.5, 0.75)  # IoU of right detections
CLEARLY = 0.005  # in mean average precision
TELLING = 200  # objects in photos held out, from which on they tell which overlap is best


def calibrate(run: Run, settings: CalibrateSettings | TrainSettings, trained: TrainedSVMs | None = None) -> Model:
    """Train the SVMs without some of the photos, detect in these, and turn margins into probabilities.

    These SVMs learn from the windows that were hard in the training of the model, and its box regressors are used.
    Layers that were fine-tuned have not seen the photos of their validation, so these are the ones held out.

    Args:
        run: holds model, proposals and features.
        settings: name of the model, memory, device.
        trained: SVMs and their images; None: they are loaded from the run.

    Returns:
        the model, which states its calibration if there was anything to learn.

    Raises:
        FileNotFoundError: the model, proposals or features are missing.
        ValueError: the run's training split is not what the SVMs were trained on, or it changed since.
        RuntimeError: another process is training this model.
    """
    folder = run.model(settings.model_name)
    with exclusive(folder):
        found = model.load(folder)
        viewed = found.with_views(View.parse_all(settings.views)) if settings.views else found
        asked = viewed.with_inference(settings.inference) if settings.inference else viewed
        if found.calibration and asked.config == found.config and not settings.overwrite:
            log.info("calibrated already: %s", folder)
            return found
        before, found = found, asked
        images = trained.images if trained else training_images_of(run, found, settings)
        images.fc = found.fc
        parts = _held_out(run, found, len(images))
        if not parts:
            log.warning("%s: too few photos to hold some out, so detections have margins but no probabilities", folder)
            found.save(folder)  # with the inference that was asked for
            return found
        overlaps = _overlaps(found, settings)
        repeats, bare = settings.overwrite and before.calibration, replace(before, calibration=None)
        with saved_without(before, bare, folder) if repeats else nullcontext():
            detections, records = _held_out_detections(run, settings, found, images, parts, overlaps)
        overlap = _best_overlap(detections, records, found.classes)
        result = voc.evaluate(detections[overlap], records, classes=found.classes)
        learned = calibration.fit(result.scores, result.correct, result.n_objects)
        if learned is None:
            log.warning("%s: no detection in photos held out is right, or all are: no probabilities", folder)
        calibrated = replace(found.with_nms_iou(overlap), calibration=learned)
        calibrated.save(folder)
    count = sum(map(len, result.scores))
    shown = f"{count} detections in {len(records)} photos held out, mAP {percent(result.mean_ap)} there"
    log.info("probabilities from %s: %s", shown, folder)
    return calibrated


def _held_out(run: Run, trained: Model, count: int) -> list[list[int]]:
    """Parts of the images that are held out in turn; none if there are too few to train on the others."""
    if trained.fc and (notes := read_notes(run.head)) is not None:
        held = np.random.default_rng(SEED).permutation(divide(count, notes["validation"], notes["seed"])[1]).tolist()
        held = held if len(held) >= FEWEST_UNSEEN else []
    elif count < FEWEST:
        return []
    else:
        share = count if count <= FEW else max(FEW, min(HELD_OUT, count // 3))
        held = np.random.default_rng(SEED).permutation(count).tolist()[:share]
    parts = min(PARTS, len(held), math.ceil(PER_PART * len(held) / count))
    return [sorted(held[k::parts]) for k in range(parts)]


def _overlaps(found: Model, settings: CalibrateSettings | TrainSettings) -> Sequence[float]:
    """The largest overlaps of two detections that are tried, that of the model first."""
    own = found.config.test.nms_iou
    is_open = isinstance(settings, TrainSettings) and settings.nms_iou is None and found.config.test.voting is not None
    return (own, *(iou for iou in OVERLAPS if iou != own)) if is_open else (own,)


def _best_overlap(
    detections: Mapping[float, Mapping[str, Detections]], records: Sequence[ImageRecord], classes: Sequence[str]
) -> float:
    """The overlap with the highest average precision; that of the model, unless another is better by `CLEARLY`."""
    if len(detections) == 1 or sum(len(record.boxes) for record in records) < TELLING:
        return next(iter(detections))
    means = {
        overlap: sum(voc.evaluate(d, records, iou, "area", classes).mean_ap for iou in JUDGED_AT) / len(JUDGED_AT)
        for overlap, d in detections.items()
    }
    own, best = next(iter(means)), max(means, key=lambda overlap: means[overlap])
    chosen = best if means[best] >= means[own] + CLEARLY else own
    shown = ", ".join(f"{overlap:g} {100 * mean:.1f}" for overlap, mean in means.items())
    log.info("chosen: --nms-iou %g: average precision in photos held out %s", chosen, shown)
    return chosen


def _held_out_detections(
    run: Run,
    settings: CalibrateSettings | TrainSettings,
    found: Model,
    images: TrainingImages,
    parts: Sequence[Sequence[int]],
    overlaps: Sequence[float],
) -> tuple[dict[float, dict[str, Detections]], list[ImageRecord]]:
    """Detections in parts of the images, by SVMs that were trained on the others; and the records of these images.

    Returns:
        overlap -> image id -> detections; and the records.
    """
    detections: dict[float, dict[str, Detections]] = {overlap: {} for overlap in overlaps}
    looks = _Looks(run, settings, found)
    folder = run.model(settings.model_name) / CHECKPOINTS
    config, options = found.config.svm, _options(found, settings, folder)
    softmax = found.notes.get("softmax_weight", 0.0)
    both = found.fc is not None and found.fc.layer == BOTH
    trainings = [svm.trained_without(parts, p.images, config, p.options) for p in parts_of(images, options, both)]
    with progress(sum(map(len, parts)), 0, "img", "probabilities") as bar:
        for part, *trained in zip(parts, *trainings, strict=True):
            svms, fc = together(trained, found.fc)
            blended = replace(found, svms=with_softmax(svms, run, softmax), fc=fc)
            for i in part:
                first, *others = looks.of(images.records[i])
                boxes = images.proposals[images.records[i].id]
                evidence = Evidence(first, boxes, blended, others=others)
                for overlap, made in zip(overlaps, _detect(evidence, overlaps), strict=True):
                    detections[overlap][images.records[i].id] = made
                bar.update()
    return detections, [images.records[i] for part in parts for i in part]


def _detect(evidence: Evidence, overlaps: Sequence[float]) -> list[Detections]:
    """Detections of one image for each overlap; its windows are scored once."""
    test = evidence.model.config.test
    if test.voting is None:
        return [detect_windows(evidence)[1]]
    judgement = evidence.judgement()
    return [voting.vote(judgement, replace(test, nms_iou=overlap), test.voting) for overlap in overlaps]


def _options(found: Model, settings: CalibrateSettings | TrainSettings, folder: Path) -> svm.MiningOptions:
    """Options of the training of the model's SVMs."""
    notes = found.notes
    memory = int(settings.memory * 2**30)
    rounds = notes.get("mining") == ROUNDS
    return svm.MiningOptions(
        folder, memory, notes["solver"], notes["max_negatives_per_image"], notes["seed"], rounds=rounds
    )


class _Looks:
    """The views of training images that the model's inference looks at; those without features are convolved."""

    def __init__(self, run: Run, settings: CalibrateSettings | TrainSettings, found: Model) -> None:
        self.settings, self.model = settings, found
        self.caches = {view: self._cache(run, view) for view in found.config.views}

    def of(self, record: ImageRecord) -> list[FeaturePyramid]:
        return [self._look(record, view) for view in self.caches]

    def _look(self, record: ImageRecord, view: View) -> FeaturePyramid:
        cache = self.caches[view]
        if cache is not None and record.id in cache:
            return features.load_pyramid(cache, record.id)
        scales = view.scales(self.model.config.pooling.scales)
        return features.compute_pyramid(read(record.path, record.size), self._body, scales, view.mirror)

    def _cache(self, run: Run, view: View) -> FeatureCache | None:
        m = self.model
        try:
            return open_features(run, run.train_split, m.network, m.config, m.weights_hash, view)
        except FileNotFoundError:
            return None

    @cached_property
    def _body(self) -> network.ConvBody:
        weights = self.settings.weights or "pretrained"
        return network.build(self.model.network, weights, self.settings.device, self.model.config.precision)
