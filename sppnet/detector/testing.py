"""Detections of a run and their scores."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from data.records import Dataset
from detection import features, image, model
from detection.detections import Detections, load_npz, save_npz
from detection.ensemble import Combine, Evidence, detect_windows
from detection.evaluation import coco, results, voc
from detection.model import Model
from detection.networks.fc_head import FcFeatures, FcHead
from detection.networks.softmax import SCORE_THRESHOLD, SoftmaxClassifier
from detection.pictures import drawing
from sppnet.detector.features import load_proposals, open_features, usable
from sppnet.detector.finetuning import CLASSIFIER, SETTINGS
from sppnet.detector.svms import HEAD
from sppnet.progress import log, progress
from tools.common import Run, exclusive

SAVE_SECONDS = 60.0  # between two saves of unfinished detections
SHOWN_SCORES = {"svm": -0.75, "softmax": 0.5}  # of drawn detections; an SVM of few images is timid
STAGES = ("windows", "regressed")  # before and after box regression
Stages = dict[str, dict[str, Detections]]  # stage -> image id -> detections


@dataclass(frozen=True, eq=False)
class Source:
    """A model, the run that holds its features and proposals, and the softmax layer that scores in its SVMs' place."""

    folder: Path
    run: Run
    model: Model
    softmax: SoftmaxClassifier | None = None

    @classmethod
    def of(cls, run: Run, folder: Path, scores: str, scales: Sequence[int] | None = None) -> Source:
        """The model in a folder of a run, at other short sides than those of its training if `scales` says so.

        Raises:
            FileNotFoundError, ValueError: there is none, or with "softmax" no fine-tuned layers of its classes.
        """
        run = replace(run, folder=folder.parent)
        trained = model.load(folder)
        trained = trained.with_scales(scales) if scales else trained
        if scores == "svm":
            return cls(folder, run, trained)
        settings = run.head / SETTINGS
        if not settings.is_file():
            raise FileNotFoundError(f"{settings}: no fine-tuned layers; run finetune")
        classes = tuple(json.loads(settings.read_text())["classes"])
        if classes != trained.classes:
            raise ValueError(f"{run.head}: fine-tuned for other classes than the model in {folder}; run either again")
        config = replace(trained.config, test=replace(trained.config.test, score_threshold=SCORE_THRESHOLD))
        trained = replace(trained, config=config, fc=FcFeatures(FcHead.load(run.head / HEAD), "fc7", config.precision))
        return cls(folder, run, trained, SoftmaxClassifier.load(run.head / CLASSIFIER, len(classes)))


class _Images:
    """What one model sees of the images of a split."""

    def __init__(self, source: Source, split: str) -> None:
        run, trained = source.run, source.model
        self.source = source
        self.proposals, self.made = load_proposals(run, split, trained.proposals)
        self.cache = open_features(run, trained.network, trained.config, trained.weights_hash)

    def evidence(self, image_id: str) -> Evidence:
        pyramid = features.load_pyramid(self.cache, image_id)
        return Evidence(pyramid, self.proposals[image_id], self.source.model, self.source.softmax)

    def key(self) -> dict[str, Any]:
        """All that decides the detections."""
        digest = hashlib.sha256(json.dumps(self.source.model.summary(), sort_keys=True).encode())
        folders = [self.source.folder] + [self.source.run.head] * (self.source.softmax is not None)
        for folder in folders:
            for file in sorted(folder.glob("*.safetensors")):
                digest.update(file.read_bytes())
        for boxes in self.proposals.values():
            digest.update(boxes.tobytes())
        return {"inputs": digest.hexdigest(), "proposals": self.made, "features": self.cache.manifest}


def detect(
    run: Run, sources: Sequence[Source], split: str, kind: str, combine: Combine = "union"
) -> tuple[Dataset, Stages]:
    """Detections of a split, stage -> image id -> detections; those the run already holds are not made again.

    Args:
        run: keeps the detections.
        sources: one model, or several to score together.
        split: of the data set.
        kind: what the files' names begin with, after the split.
        combine: how several models score together, see `detect_windows`.

    Raises:
        ValueError: the models have different classes.
    """
    classes = sources[0].model.classes
    if any(s.model.classes != classes for s in sources):
        raise ValueError("--model: expected models of the same classes in the same order; train them on the same data")
    dataset = run.dataset(split, classes)
    images = [_Images(source, split) for source in sources]
    records = list(dataset)
    for i in images:
        there = {r.id for r in usable(run, dataset, i.proposals, i.cache)}
        records = [r for r in records if r.id in there]
    paths = {stage: run.detections(split, kind + stage) for stage in STAGES}
    key = {"models": [i.key() for i in images], "combine": combine}
    with exclusive(run.detections(split, kind + "all")):
        found = {stage: _saved(path, key, run.options.overwrite) for stage, path in paths.items()}
        todo = [r for r in records if any(r.id not in f for f in found.values())]
        saved = time.monotonic()
        with progress(len(records), len(records) - len(todo), "img", "detection") as bar:
            for record in todo:
                new = detect_windows(*(i.evidence(record.id) for i in images), combine=combine)
                for stage, detections in zip(STAGES, new, strict=True):
                    found[stage][record.id] = detections
                bar.update()
                if time.monotonic() - saved > SAVE_SECONDS:
                    _save(paths, found, key)
                    saved = time.monotonic()
        if todo:
            _save(paths, found, key)
    for path in paths.values():
        log.info("detections: %s", path)
    return _only(dataset, records), {stage: {r.id: f[r.id] for r in records} for stage, f in found.items()}


def _saved(path: Path, key: Mapping[str, Any], overwrite: bool) -> dict[str, Detections]:
    """What an earlier call left for the same inputs."""
    if overwrite or not path.is_file():
        return {}
    detections, meta = load_npz(path)
    return dict(detections) if meta == key else {}


def _save(paths: Mapping[str, Path], found: Mapping[str, Mapping[str, Detections]], key: Mapping[str, Any]) -> None:
    for stage, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_npz(path, found[stage], key)


def _only(dataset: Dataset, records: Sequence[Any]) -> Dataset:
    return Dataset(dataset.name, dataset.classes, tuple(records), dataset.bad)


def report(
    run: Run, dataset: Dataset, stages: Mapping[str, Mapping[str, Detections]], metric: str, kind: str = ""
) -> dict[str, Any]:
    """Score every stage, print the table, and leave comp4 files, COCO json and curves.npz in the results folder.

    Returns:
        stage -> the scores, for json.
    """
    scored = {stage: voc.evaluate(d, dataset, metric=metric) for stage, d in stages.items()}  # type: ignore[arg-type]
    print(results.format_table(dataset.classes, scored))
    out: dict[str, Any] = {}
    for stage, detections in stages.items():
        part = f"-first-{run.options.limit}" if run.options.limit else ""  # a part's files beside the whole's
        folder = run.results / f"{run.options.test_split}{part}-{kind}{stage}"
        folder.mkdir(parents=True, exist_ok=True)
        results.write_comp4(folder, detections, dataset.classes, run.options.test_split)
        results.write_coco_json(folder / "coco_results.json", detections, _image_numbers(dataset))
        c = coco.evaluate(detections, dataset)
        figures = f"{metric} mAP {_percent(scored[stage].mean_ap)}, COCO AP {_percent(c.ap)}, AP50 {_percent(c.ap50)}"
        print(f"{stage}: {figures}")
        log.info("comp4 files, COCO json: %s", folder)
        results.write_curves(folder / "curves.npz", scored[stage])
        out[stage] = results.summary(scored[stage])
        out[stage]["coco"] = {k: None if math.isnan(v := getattr(c, k)) else v for k in ("ap", "ap50", "ap75")}
    return out


def draw_pictures(
    folder: Path,
    dataset: Dataset,
    detections: Mapping[str, Detections],
    count: int,
    min_score: float = SHOWN_SCORES["svm"],
) -> None:
    """Draw the detections of `count` images, evenly spaced over the data set, over the ground truth."""
    folder.mkdir(parents=True, exist_ok=True)
    for place in sorted({round(i * (len(dataset) - 1) / max(1, count - 1)) for i in range(count)}):
        record = dataset.records[place]
        photo = image.read(record.path, record.size)
        picture = drawing.draw_comparison(photo, detections[record.id], record, dataset.classes, min_score)
        Image.fromarray(picture).save(folder / f"{record.id}.png")


def _image_numbers(dataset: Dataset) -> dict[str, int]:
    """COCO's number of each image: its id where that is one, as in VOC, else its place in the list, from 1."""
    ids = [record.id for record in dataset]
    if all(i.isdecimal() for i in ids):
        return {i: int(i) for i in ids}
    return {i: place for place, i in enumerate(ids, 1)}


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
