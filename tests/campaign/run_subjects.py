"""Subjects that belong to runs, classifiers and labelling projects."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from classification import network as classifier_network
from classification.classifier import SPPClassifier
from classification.extractor import Extractor
from classification.model import softmax_model
from classification.views import View
from detection import model, network
from detection.bbox_regression import BoxRegressor
from detection.calibration import Calibration
from detection.config import PAPER
from detection.config import View as PhotoView
from detection.detector import SPPDetector
from detection.linear_detectors import LinearDetectors
from detection.model_settings import MODEL
from detection.value_digest import DIGEST
from detection.weights.state_dict import write_state
from proposals import batch
from proposals import io as proposal_io
from proposals.sources import VERSION, ProposalSettings
from sppnet.cli.commands import report as report_command
from sppnet.detector import calibrating, choices
from sppnet.detector.head_files import undamaged
from sppnet.detector.proposal_measures import _seconds
from sppnet.detector.training_images import training_images_of
from sppnet.labelling.payloads import image_id
from sppnet.labelling.project import Project
from sppnet.labelling.regions import read_regions
from sppnet.report.render import figures, render
from sppnet.report.tested_run import Scores, TestedRun
from sppnet.run import Run
from sppnet.server.offered_detectors import OfferedDetector
from sppnet.settings.commands import ReportSettings
from sppnet.settings.train import TrainSettings
from tests.campaign import finished
from tests.campaign.subject import Subject

PIXELS = np.random.default_rng(4).integers(0, 255, (60, 80, 3), np.uint8)
WINDOWS = np.array([[0, 0, 79, 59], [5, 5, 40, 40], [20, 10, 60, 50], [30, 30, 50, 55]], np.float32)
CLASSES = ("cat", "dog", "größe")
BODY = network.build("alexnet", weights=None)


def _copied(found: list[Path], source: Path, folder: Path) -> list[Path]:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    return [folder / path.relative_to(source) for path in found]


# ---- a detector's model, whose values are anything, with a digest that fits


def _small_model() -> model.Model:
    views = (PhotoView(0.7), PhotoView(1.25, mirror=True))
    pooling = replace(PAPER.pooling, scales=(120, 160), levels=(1, 2), context=(1.5,), context_levels=(1,))
    config = replace(PAPER, pooling=pooling, best_views=views).with_inference("best")
    rng, length = np.random.default_rng(5), BODY.channels * 6
    svms = LinearDetectors(rng.standard_normal((3, length)).astype(np.float32), np.zeros(3, np.float32), 0.1)
    weights = (rng.standard_normal((length + 1, 4)) / 5000).astype(np.float32)
    fitted = (BoxRegressor(weights, np.zeros(4)), None, None)
    notes = {"data": "x", "images": 3, "category_ids": [1, "2", None], "train_views": ["1m"], "softmax_weight": 0.0}
    made = ProposalSettings("ss", 50).meta
    calibration = Calibration((1.0, 2.0, 3.0), (0.1, -0.2, 0.3), (0.4, 0.5, 0.6))
    return model.Model(
        CLASSES, config, "alexnet", BODY.weights_hash, svms, fitted, 0.3, notes, proposals=made, calibration=calibration
    )


def _model_values(folder: Path) -> list[Path]:
    path = folder / "values" / MODEL
    _small_model().save(path.parent)
    values = json.loads(path.read_text())
    values.pop(DIGEST)
    path.write_text(json.dumps(values))
    write_state(folder / "weights.safetensors", BODY.state_dict())
    return [path]


def _check_model_values(folder: Path) -> str | None:
    """A model of any values that are accepted offers itself, detects and states probabilities."""
    OfferedDetector.of(str(folder / "values"))
    weights = folder / "weights.safetensors"
    detector = SPPDetector.from_pretrained(folder / "values", device="cpu", weights=weights)
    found, seen = detector.model, detector.detect(PIXELS, WINDOWS)
    if found.proposals.get("version") == VERSION:  # others go with boxes of their program
        detector.propose(PIXELS)
    seen.to_coco(1)
    right = np.isfinite(seen.boxes).all() and np.isfinite(seen.scores).all()
    sure = seen.probabilities
    right &= sure is None or ((sure >= 0) & (sure <= 1)).all()
    return None if right else f"{seen.boxes.tolist()} {seen.scores.tolist()}"


# ---- a classifier


def _classifier_model() -> Any:
    net = classifier_network.build(classifier_network.random_body("zf5-small", 0), 3, (1, 2), 8, 0, norm=False).eval()
    fc8 = torch.nn.Linear(8, 3)
    with torch.no_grad():
        fc8.weight.copy_(torch.arange(24.0).reshape(3, 8) / 24)
        fc8.bias.zero_()
    rest = {"classes": CLASSES, "view": View("full", 96), "own_convolutions": True, "notes": {"training": "x"}}
    return softmax_model(Extractor.of(net), fc8, **rest)


def _classifier(folder: Path) -> list[Path]:
    _classifier_model().save(folder / "classifier")
    return sorted((folder / "classifier").iterdir())


def _check_classifier(folder: Path) -> str | None:
    """A loaded classifier is the one that was saved, and classifies."""
    found = SPPClassifier.from_pretrained(folder / "classifier", device="cpu")
    sound = _classifier_model()
    assert found.model is not None
    if not np.array_equal(found.model.linear.weights, sound.linear.weights):
        return "other weights"
    if (found.model.view, found.extractor.levels, found.model.linear.kind) != (sound.view, (1, 2), "softmax"):
        return f"{found.model.view}, {found.extractor.levels}, {found.model.linear.kind}"
    scores = found.classify(PIXELS).scores
    right = np.isfinite(scores).all() and scores.shape == (3,) and found.classes == CLASSES
    return None if right else f"{scores} of {found.classes}"


# ---- a run


def _report(folder: Path) -> list[Path]:
    run = finished.run()
    names = ("train.json", "train.yaml", "model/model.json", "proposals/ss/test.npz", "proposals/ss/test.seconds.json")
    photos = ("proposals/ss/test.photos.json", "features/alexnet-160/photos.json")
    tested = [p.relative_to(run) for p in sorted(run.glob("detections/*.npz"))]
    return _copied([run / name for name in (*names, *photos, *tested)], run, folder / "run")


def _check_report(folder: Path) -> str | None:
    """The report of a run has all its sections, and figures that are numbers."""
    settings = report_command.resolve(ReportSettings(folder=folder / "run"))
    tested = TestedRun.of(Run.open(settings, settings.split), settings.detections)
    scores = Scores.of(tested, settings.metric or "voc07")
    page, found = render(tested, scores), figures(tested, scores)
    _seconds(folder / "run" / "proposals" / "ss" / "test.npz")
    json.dumps(found, allow_nan=False)
    return None if page.count("<section") >= 8 else f"{page.count('<section')} sections"


def _continued(folder: Path) -> list[Path]:
    run = finished.run()
    names = ("choices.json", "head/finetune.json", "head/fc_head.safetensors", "model/model.json")
    return _copied([run / name for name in names], run, folder / "run")


def _check_continued(folder: Path) -> str | None:
    """A training that is given again finds what was chosen, its layers and how its SVMs were trained."""
    settings = TrainSettings(devkit=finished.training().data, run=folder / "run", workers=1)
    run = Run.open(settings)
    chosen = choices.choose(run, settings).settings
    undamaged(run.head)
    found = model.load(run.model("model"))
    images = training_images_of(run, found, chosen)
    parts = calibrating._held_out(run, found, len(images))
    calibrating._options(found, chosen, folder)
    right = all(0 <= i < len(images) for part in parts for i in part)
    return None if right else f"{parts} of {len(images)} images"


# ---- proposals that are being made


MADE = {"a": WINDOWS, "b": WINDOWS[1:] + 0.5}


def _parts(folder: Path) -> list[Path]:
    output, settings = folder / "boxes.npz", ProposalSettings()
    proposal_io.save(output, {"c": WINDOWS}, settings.meta)
    parts = batch._open_parts(output, settings)
    for name, boxes in MADE.items():
        proposal_io.save_one(parts / f"{name}.npy", boxes)
    return [output, *sorted(parts.iterdir())]


def _check_parts(folder: Path) -> str | None:
    """Boxes of an interrupted search are those that were found, or are missing."""
    output, settings = folder / "boxes.npz", ProposalSettings()
    found = batch._finished(output, settings)
    parts = batch._open_parts(output, settings)
    loaded = {name: batch._load_part(parts / f"{name}.npy") for name in MADE}
    same = all(boxes is None or np.array_equal(boxes, MADE[name]) for name, boxes in loaded.items())
    return None if same and all(b.shape[1:] == (4,) for b in found.values()) else f"{loaded}"


# ---- a labelling project


def _project(folder: Path) -> list[Path]:
    source = finished.project()
    named = ["project.json", "live/model.json", "live/held-out.npz", "live/training/checkpoint.npz"]
    found = [*(source / name for name in named), *source.glob("tasks/*.json"), *source.glob("live/windows/*.npy")]
    found += [*source.glob("data/Annotations/*.xml"), *source.glob("data/ImageSets/Main/*.txt")]
    return _copied(sorted(found), source, folder / finished.UID)


def _check_project(folder: Path) -> str | None:
    """A project goes on after a restart: its tasks have regions in their photos, its detector detects."""
    project = Project(finished.UID, folder / finished.UID, finished.base(), finished.AtOnce(), finished.LIMITS)
    if project.config is None:
        return None  # Label Studio states it again
    learner = project._ready()
    for task in project.book.values():
        objects = read_regions(task.current or [], project.config, (60, 80))
        inside = all(0 <= x0 <= x1 <= 79 and 0 <= y0 <= y1 <= 59 for x0, y0, x1, y1 in objects.boxes)
        name = image_id(task.id, task.url)
        if not inside or not set(objects.labels) <= set(project.config.labels) or Path(name).name != name:
            return f"task {task.id}: {objects} of {name}"
    for record in learner.labelled.records(learner.classes):
        found, _ = learner.detect(record.id, lambda: b"")
        if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
            return f"{record.id}: {found.boxes.tolist()}"
        windows = learner.detector.images.proposals[record.id]
        height, width = record.size
        if windows.dtype != np.float32 or not ((windows >= 0).all() and (windows <= [width, height] * 2).all()):
            return f"{record.id}: windows {windows}"
    with contextlib.suppress(KeyError):
        project.update([])
    return None


SUBJECTS = {
    "model values": Subject(_model_values, _check_model_values),
    "classifier": Subject(_classifier, _check_classifier),
    "report": Subject(_report, _check_report),
    "continued training": Subject(_continued, _check_continued),
    "proposal parts": Subject(_parts, _check_parts),
    "labelling project": Subject(_project, _check_project, writes=True),
}
