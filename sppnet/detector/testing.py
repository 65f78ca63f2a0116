"""Detections of a run on its test split."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from data.records import Dataset, ImageRecord
from detection import image, model
from detection.calibration import Calibration
from detection.config import PHOTO_AND_MIRROR_IMAGE
from detection.detection_table import load_npz, save_npz
from detection.detections import Detections
from detection.engines.engine import Engine
from detection.ensemble import Combine
from detection.model import Model
from detection.networks.fc_head import FcFeatures, FcHead
from detection.networks.softmax import SCORE_THRESHOLD, SoftmaxClassifier
from detection.photo_record import PhotoRecord
from detection.pictures import drawing
from detection.plain_values import read
from sppnet.detector.detecting import ModelWithFeatures, detect_each
from sppnet.detector.features import open_features, usable_records
from sppnet.detector.head_files import CLASSIFIER, HEAD, undamaged
from sppnet.detector.proposals import load_proposals
from sppnet.engines import engine_of
from sppnet.files import write_picture
from sppnet.output_files import check_folder, check_name
from sppnet.progress import log, progress
from sppnet.run import Run, exclusive
from sppnet.settings.detector import TestSettings
from sppnet.settings.shared import Inference

SAVE_SECONDS = 60.0  # between two saves of unfinished detections
SHOWN_SCORES = {"svm": -0.75, "softmax": 0.5}  # lowest score drawn; SVMs trained on few images score low
STAGES = ("windows", "regressed")  # before and after box regression
Stages = dict[str, dict[str, Detections]]  # stage -> image id -> detections
Origin = list[str | None]  # SHA-256 of an image's photo, None if not recorded, and of its boxes
Origins = dict[str, list[Origin] | None]  # image id -> what its detections are made from, by model


@dataclass(frozen=True, eq=False)
class TestedModel:
    """A model, the run that holds its features and proposals, and the softmax layer that replaces its SVMs.

    Attributes:
        folder: of the model.
        run: its run.
        model: the detector without its convolutions.
        softmax: scores instead of the SVMs; None: the SVMs score.
    """

    __test__ = False  # not a test case, despite its name

    folder: Path
    run: Run
    model: Model
    softmax: SoftmaxClassifier | None = None

    @classmethod
    def load(
        cls,
        run: Run,
        folder: Path,
        scores: Literal["svm", "softmax"] = "svm",
        scales: Sequence[int] | None = None,
        inference: Inference | None = None,
        nms_iou: float | None = None,
    ) -> TestedModel:
        """Load the model in a folder of a run.

        Args:
            run: names the data set; the model's own run is the folder above it.
            folder: of the model.
            scores: "svm", or "softmax" for the fine-tuned layer.
            scales: short sides in pixels to test at; None: those of the training.
            inference: how scores become detections; None: what the model states.
            nms_iou: largest overlap of two detections of a class; None: what the model states.

        Raises:
            FileNotFoundError: there is no model, or no softmax layer.
            ValueError: the softmax layer was trained for other classes, or a file is damaged.
        """
        run = replace(run, folder=folder.parent)
        trained = model.load(folder)
        trained = trained.with_scales(scales) if scales else trained
        trained = trained.with_inference(inference) if inference else trained
        trained = trained if nms_iou is None else trained.with_nms_iou(nms_iou)
        if scores == "svm":
            return cls(folder, run, trained)
        classes = tuple(undamaged(run.head)["classes"])
        if classes != trained.classes:
            raise ValueError(
                f"{run.head}: fine-tuned for other classes than the model in {folder}; train one of them again"
            )
        config = replace(trained.config, test=replace(trained.config.test, score_threshold=SCORE_THRESHOLD))
        trained = replace(trained, config=config, fc=FcFeatures(FcHead.load(run.head / HEAD), "fc7", config.precision))
        return cls(folder, run, trained, SoftmaxClassifier.load(run.head / CLASSIFIER, len(classes)))


class _TestImages:
    """What one model sees of the images of a split."""

    def __init__(self, tested: TestedModel, dataset: Dataset, split: str, settings: TestSettings) -> None:
        run, trained = tested.run, tested.model
        self.tested = tested
        self.proposals, self.made = load_proposals(run, dataset, split, settings, trained.proposals)
        name, config, weights = trained.network, trained.config, trained.weights_hash
        stated = config.best_views != PHOTO_AND_MIRROR_IMAGE
        further = "--inference best" + f" --views {' '.join(map(str, config.best_views))}" * stated
        self.caches = [open_features(run, split, name, config, weights, view, further) for view in config.views]
        self.photos = PhotoRecord(self.caches[0].photos).known

    @property
    def with_features(self) -> ModelWithFeatures:
        return ModelWithFeatures(self.tested.model, self.tested.softmax, self.caches)

    def key(self, with_boxes: bool = False) -> dict[str, Any]:
        """All that decides the detections but photos and boxes; files from before photos were noted include boxes."""
        summary = self.tested.model.summary()
        summary["notes"] = {k: v for k, v in summary["notes"].items() if k != "category_ids"}
        summary.pop("calibration", None)  # it decides what is shown
        digest = hashlib.sha256(json.dumps(summary, sort_keys=True).encode())
        folders = [self.tested.folder] + [self.tested.run.head] * (self.tested.softmax is not None)
        for folder in folders:
            for file in sorted(folder.glob("*.safetensors")):
                digest.update(file.read_bytes())
        for boxes in self.proposals.values() if with_boxes else ():
            digest.update(boxes.tobytes())
        return {"inputs": digest.hexdigest(), "proposals": self.made, "features": self.caches[0].manifest}

    def origin(self, image_id: str) -> Origin:
        """What an image's detections are made from."""
        photo = self.photos.get(image_id)
        return [photo.sha256 if photo else None, hashlib.sha256(self.proposals[image_id].tobytes()).hexdigest()]


def test_detector(run: Run, settings: TestSettings) -> tuple[Dataset, Stages, Sequence[TestedModel]]:
    """Detect the objects of the test split with the models that settings name.

    Args:
        run: keeps the detections.
        settings: models, scores, scales, combination.

    Returns:
        the tested images; stage -> image id -> detections, one stage if no model has box regressors; the models.

    Raises:
        FileNotFoundError: a model, features or proposals are missing.
        ValueError: the models have different classes, or a file is damaged.
        RuntimeError: another process is testing the same models.
    """
    folders = settings.model or (run.model(),)
    s = settings
    models = [TestedModel.load(run, folder, s.scores, s.scales, s.inference, s.nms_iou) for folder in folders]
    dataset, stages = detect_split(run, models, settings, detections_name(settings))
    return dataset, stages, models


test_detector.__test__ = False  # type: ignore[attr-defined]  # not a test case, despite its name


def detections_name(settings: TestSettings) -> str:
    """What the names of detection files begin with, after the split: "" for the run's own model as trained."""
    folders = settings.model or (Path("model"),)
    own = f"{folders[0].name}-" if folders[0].name != "model" else ""
    name = (f"{settings.combine}-" if len(folders) > 1 else own) + "softmax-" * (settings.scores == "softmax")
    name += f"scales-{'-'.join(map(str, settings.scales))}-" if settings.scales else ""
    name += f"{settings.inference}-" if settings.inference else ""
    return name + (f"nms-{settings.nms_iou:g}-" if settings.nms_iou is not None else "")


def detect_split(
    run: Run, models: Sequence[TestedModel], settings: TestSettings, name: str = ""
) -> tuple[Dataset, Stages]:
    """Detections of the test split; those the run already holds are not computed again.

    Args:
        run: keeps the detections.
        models: one model, or several that score together.
        settings: proposals, overwrite, and how models are combined.
        name: what the files' names begin with, after the split.

    Returns:
        the tested images; stage -> image id -> detections, one stage if no model has box regressors.

    Raises:
        ValueError: the models have different classes.
    """
    split, combine = run.test_split, settings.combine
    classes = models[0].model.classes
    if any(tested.model.classes != classes for tested in models):
        raise ValueError("--model: expected models of the same classes in the same order; train them on the same data")
    dataset = run.dataset(split, classes)
    images = [_TestImages(tested, dataset, split, settings) for tested in models]
    records = list(dataset)
    for i in images:
        for cache in i.caches:
            there = {r.id for r in usable_records(run, dataset, i.proposals, cache)}
            records = [r for r in records if r.id in there]
    saved = _SavedDetections(run, split, name, images, [r.id for r in records], combine)
    with exclusive(run.detections(split, name + "all")):
        if settings.overwrite:
            saved.remove()
        found = saved.load()
        _detect_missing(images, saved, found, combine, engine_of(settings))
    for path in saved.paths.values():
        log.info("detections: %s", path)
    stages = STAGES if any(tested.model.regressors for tested in models) else STAGES[:1]
    return replace(dataset, records=tuple(records)), {s: {r.id: found[s][r.id] for r in records} for s in stages}


def _detect_missing(
    images: Sequence[_TestImages], saved: _SavedDetections, found: Stages, combine: Combine, engine: Engine | None
) -> None:
    """Add the detections of the images that have none; they are saved now and then, and at the end."""
    for stage in STAGES:
        found.setdefault(stage, {})
    todo = [i for i in saved.ids if any(i not in f for f in found.values())]
    at = time.monotonic()
    models, tasks = [i.with_features for i in images], ((one, [i.proposals[one] for i in images]) for one in todo)
    with progress(len(saved.ids), len(saved.ids) - len(todo), "img", "detection") as bar:
        for image_id, new in detect_each(models, tasks, combine, engine):
            for stage, detections in zip(STAGES, new, strict=True):
                found[stage][image_id] = detections
            bar.update()
            if time.monotonic() - at > SAVE_SECONDS:
                saved.save(found)
                at = time.monotonic()
    if todo or saved.outdated:
        saved.save(found)


class _SavedDetections:
    """The files of a split's detections, one per stage; they state what each image's detections were made from.

    Attributes:
        ids: the images to detect in.
        paths: stage -> file.
        outdated: whether a loaded file is from before such statements.
    """

    def __init__(
        self, run: Run, split: str, name: str, images: Sequence[_TestImages], ids: Sequence[str], combine: Combine
    ) -> None:
        self.ids, self.outdated = ids, False
        self.paths = {stage: run.detections(split, name + stage) for stage in STAGES}
        self._images, self._combine = images, combine
        self._key = self._key_of(with_boxes=False)
        self._now = {i: [one.origin(i) for one in images] for i in ids}
        self._others: dict[str, Any] = {}  # origins of further images in the files

    def load(self) -> Stages:
        """What earlier calls left that was made by the same models from the same photos and boxes."""
        found: Stages = {}
        changed: set[str] = set()
        for stage, path in self.paths.items():
            if not path.is_file():
                continue
            try:
                detections, meta = load_npz(path)
                origins = pop_origins(meta, path)
            except ValueError as error:
                log.warning("%s; detecting again", error)
                continue
            if origins is None:
                whole = meta == self._key_of(with_boxes=True)
                self.outdated |= whole
                found[stage] = dict(detections) if whole else {}
            elif meta == self._key:
                old = {i for i in detections if i in self._now and not _alike(origins.get(i), self._now[i])}
                found[stage] = {i: detections[i] for i in detections if i not in old}
                self._others |= {i: origins.get(i) for i in detections if i not in self._now}
                changed |= old
        if changed:
            what = "photos or their proposals changed since they were tested; testing them again"
            log.info("%d of %d %s", len(changed), len(self.ids), what)
        return found

    def remove(self) -> None:
        """Delete the files, so that detection, if it is interrupted, continues without --overwrite."""
        for path in self.paths.values():
            path.unlink(missing_ok=True)

    def save(self, found: Stages) -> None:
        """Write the files, images in the order of the split.

        Raises:
            OSError: a file cannot be written.
        """
        for stage, path in self.paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            ordered = {i: found[stage][i] for i in (*self.ids, *found[stage]) if i in found[stage]}
            origins = {i: self._now.get(i, self._others.get(i)) for i in ordered}
            save_npz(path, ordered, self._key | {"images": origins})

    def _key_of(self, with_boxes: bool) -> dict[str, Any]:
        return {"models": [one.key(with_boxes) for one in self._images], "combine": self._combine}


def pop_origins(meta: dict[str, Any], path: Path) -> Origins | None:
    """Take what detections are made from out of what their file says about them; None if it does not say.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        found: Origins | None = read(Origins | None, meta.pop("images", None), "images")
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error})") from error
    return found


def _alike(there: list[Origin] | None, now: list[Origin]) -> bool:
    """Whether detections that were made from `there` are those of `now`; an unknown photo is the same."""
    pairs = zip(there or [], now, strict=False)
    return bool(there) and all(a[1] == b[1] and (a[0] == b[0] or None in (a[0], b[0])) for a, b in pairs)


def draw_pictures(
    folder: Path,
    dataset: Dataset,
    detections: Mapping[str, Detections],
    count: int,
    min_score: float = SHOWN_SCORES["svm"],
    calibration: Calibration | None = None,
) -> None:
    """Draw the detections of `count` images, evenly spaced over the data set, over the ground truth.

    Args:
        folder: of the pictures.
        dataset: the images.
        detections: image id -> detections.
        count: number of images.
        min_score: lowest margin that is drawn without a calibration.
        calibration: the detections that it shows are drawn, with their probabilities.

    Raises:
        FileExistsError: there is a file of a picture's name that is not from sppnet.
        OSError: a picture cannot be written.
    """
    for record, path in _pictures(folder, dataset, count):
        photo = image.read(record.path, record.size)
        found = detections[record.id]
        shown = replace(found, calibration=calibration).shown() if calibration else found.filter(min_score)
        picture = drawing.draw_comparison(photo, shown, record, dataset.classes)
        write_picture(path, picture)


def check_pictures(folder: Path, dataset: Dataset, count: int) -> None:
    """Check that `draw_pictures` can write, before the work whose result it shows.

    Raises:
        FileExistsError: there is a file of a picture's name that is not from sppnet.
        OSError: a picture cannot be written.
    """
    check_folder(folder)
    for _, path in _pictures(folder, dataset, count):
        check_name(path)


def _pictures(folder: Path, dataset: Dataset, count: int) -> Iterator[tuple[ImageRecord, Path]]:
    for place in sorted({round(i * (len(dataset) - 1) / max(1, count - 1)) for i in range(count)}):
        record = dataset.records[place]
        yield record, folder / f"{record.id}.png"
