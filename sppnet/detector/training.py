"""All stages of a run, one after the other: labelled photos in, a tested detector out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data.records import Dataset
from detection.config import View
from detection.model import load
from detection.model_settings import MODEL
from detection.network import resolve_device
from detection.networks.bfloat16 import has_bfloat16
from sppnet.detector.bbox_regressors import train_bbox_regressors
from sppnet.detector.budget import within_budget
from sppnet.detector.calibrating import calibrate
from sppnet.detector.choices import FILE, Choice, choose, keep, tell
from sppnet.detector.features import discard_features, extract_features, views_of
from sppnet.detector.finetuning import finetune
from sppnet.detector.head_files import SETTINGS
from sppnet.detector.proposals import discard_proposals, extract_proposals
from sppnet.detector.scoring import TestScores, score_detections
from sppnet.detector.svms import train_svms
from sppnet.detector.testing import TestedModel, check_pictures, detect_split, detections_name, draw_pictures
from sppnet.detector.time_estimate import measure
from sppnet.progress import log
from sppnet.run import Run, exclusive, set_aside
from sppnet.settings.detector import TestSettings
from sppnet.settings.train import TrainSettings

PICTURES = "pictures"  # folder in the run
PENDING = ".overwrite"  # file in the run, until --overwrite has chosen settings and deleted what they make anew
SHOWN = 12  # photos whose detections are drawn


@dataclass(frozen=True, eq=False)
class Training:
    """A finished training.

    Attributes:
        run: holds everything that was made.
        model: folder of the detector.
        detections: name of the test's detections in the run, see `detections_name`.
        scores: on the test split.
        stage_seconds: stage -> seconds that it took.
        settings: of all stages, with what was chosen for the data.
        choices: what was chosen.
    """

    run: Run
    model: Path
    detections: str
    scores: TestScores
    stage_seconds: dict[str, float]
    settings: TrainSettings
    choices: list[Choice]

    def summary(self) -> dict[str, Any]:
        """Scores, times and choices as plain values for json."""
        choices = [asdict(choice) for choice in self.choices]
        return self.scores.summary() | {"stage_seconds": self.stage_seconds, "choices": choices}


class _Clock:
    """Numbers and times the stages."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        log.info("\nstage %d of %d: %s", len(self.seconds) + 1, self.total, name)
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)


def resolve_precision(settings: TrainSettings) -> TrainSettings:
    """Choose bf16 where the device is faster with it, else fp32, if the settings leave the precision open."""
    if settings.precision is not None:
        return settings
    return replace(settings, precision="bf16" if has_bfloat16(resolve_device(settings.device)) else "fp32")


def train_and_test(run: Run, settings: TrainSettings) -> Training:
    """Search proposals, convolve, train and test; finished stages are not repeated.

    Args:
        run: names the data set; keeps everything.
        settings: of all stages.

    Raises:
        OSError, ValueError: the data cannot be used, or the settings do not fit it.
        RuntimeError: another process is working on the run.
    """
    train = run.train  # faults show at once
    _check_objects(train, settings.difficult)
    datasets = {run.train_split: train, run.test_split: run.dataset(run.test_split, train.classes)}
    check_pictures(run.folder / PICTURES, datasets[run.test_split], SHOWN)
    pending = run.folder / PENDING
    if not (settings.overwrite or pending.is_file()):
        return _all_stages(run, settings, datasets)
    if not settings.overwrite:
        log.info("a training with --overwrite was interrupted before it began; doing all its work again")
    with set_aside(*_results(run, settings)):
        pending.touch()
        try:
            return _all_stages(run, replace(settings, overwrite=True), datasets)
        except Exception:
            pending.unlink(missing_ok=True)
            raise


def _results(run: Run, settings: TrainSettings) -> list[Path]:
    """The files by which an earlier training of the run is known: what --overwrite does not want to find.

    Raises:
        RuntimeError: another process is working on the run.
    """
    model, found = run.model(settings.model_name), [run.folder / FILE]
    for folder, name in ((model, MODEL), (run.head, SETTINGS)):
        with exclusive(folder):
            found.append(folder / name)
    return found


def _all_stages(run: Run, settings: TrainSettings, datasets: Mapping[str, Dataset]) -> Training:
    """Work of `train_and_test`; `datasets` are the images by split, those of the training first."""
    s, choices = _chosen(run, settings, len(datasets[run.test_split]))
    tunes = s.features != "pool5" and s.head is None
    views = _views(run, s, s.learned_views if tunes else View.parse_all(s.train_views or ()))
    clock = _Clock(3 + len(views) + s.bbox_regression + s.calibrate + tunes)
    if s.overwrite:
        discard_features(run, s, views)
        discard_proposals(run, datasets, s)
        (run.folder / PENDING).unlink(missing_ok=True)
    with clock.stage("windows"):
        for split in datasets:
            extract_proposals(run, split, s)
    for view, splits in views.items():
        with clock.stage(_features_of(view)):
            extract_features(run, {split: datasets[split] for split in splits}, s, view)
    if tunes:
        with clock.stage("fully connected layers"):
            finetune(run, s)
    with clock.stage("SVMs"):
        trained = train_svms(run, s)
    if s.bbox_regression:
        with clock.stage("box regressors"):
            train_bbox_regressors(run, s, trained)
    model = run.model(s.model_name)
    _state_inference(model, s)
    if s.calibrate:
        with clock.stage("probabilities"):
            calibrate(run, s, trained)
    test = TestSettings(model=(model,), proposals=s.proposals, max_boxes=s.max_boxes, overwrite=s.overwrite)
    name = detections_name(test)
    with clock.stage("test"):
        scores = _test(run, s, test, name)
    return Training(run, model, name.rstrip("-"), scores, clock.seconds, s, choices)


def _chosen(run: Run, settings: TrainSettings, test_photos: int) -> tuple[TrainSettings, list[Choice]]:
    """The settings without open ones, and what was chosen, which the run keeps."""
    made = choose(run, settings)
    machine = measure(run, made.settings) if made.free else None
    made = within_budget(made, machine, test_photos) if machine else made
    tell(made.choices)
    keep(run, made.choices)
    return made.settings, made.choices


def _check_objects(train: Dataset, difficult: bool) -> None:
    """Raise ValueError if the training photos show no object to learn from."""
    if not any(len(record.boxes) for record in train):
        raise ValueError(f"{train.name}: no photo shows an object; label some")
    if not difficult and all(record.difficult.all() for record in train):
        raise ValueError(f"{train.name}: all objects are difficult; label others, or leave --no-difficult out")


def _views(run: Run, s: TrainSettings, learned: Sequence[View]) -> dict[View, list[str]]:
    """View -> the splits whose features of that view are needed, that of the training first."""
    views = {view: [run.train_split] for view in (View(), *learned)}
    for view in views_of(s):
        views.setdefault(view, []).append(run.test_split)
    return views


def _features_of(view: View) -> str:
    """Name of the stage that convolves a view."""
    size = "" if view.scale == 1 else f" at {view.scale:g} times the size"
    return "mirrored " * view.mirror + "features" + size


def _state_inference(folder: Path, s: TrainSettings) -> None:
    """Let the model in a folder state how it is used, and what inference "best" looks at."""
    found = load(folder)
    inference = s.inference or found.config.inference
    stated = found.with_views(View.parse_all(s.views)) if s.views else found
    stated = stated.with_inference(inference) if inference else stated
    stated = stated if s.nms_iou is None else stated.with_nms_iou(s.nms_iou)
    if stated.config != found.config:
        replace(stated, calibration=None).save(folder)


def _test(run: Run, s: TrainSettings, test: TestSettings, name: str) -> TestScores:
    """Scores and pictures of the detector just trained; its detections get `name`."""
    tested = TestedModel.load(run, run.model(s.model_name))
    dataset, stages = detect_split(run, [tested], test, name)
    scores = score_detections(run, dataset, stages, s.metric, name)
    draw_pictures(
        run.folder / PICTURES, dataset, list(stages.values())[-1], SHOWN, calibration=tested.model.calibration
    )
    return scores
