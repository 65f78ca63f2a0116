"""A tested run: its photos and detections, their scores and errors, and the recall of its proposals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.names import listed
from data.records import Dataset
from detection.calibration import Calibration
from detection.config import INFERENCE
from detection.detection_table import DetectionTable, load_npz
from detection.detections import Detections
from detection.evaluation import coco, errors, voc
from detection.evaluation.coco import CocoResult
from detection.evaluation.errors import Errors, Kind
from detection.evaluation.voc import EvaluationResult, Metric
from detection.model_settings import MODEL, read_settings
from detection.photo_record import PhotoRecord
from proposals import io, recall
from proposals.batch import photos_file
from proposals.recall import RecallResult
from sppnet.detector.photos import refuse_changed
from sppnet.detector.testing import STAGES, pop_origins
from sppnet.errors import one_line
from sppnet.progress import log
from sppnet.report.run_files import read_json
from sppnet.run import Run

Floats = NDArray[np.float64]
MAX_COCO_DETECTIONS = 1_000_000  # pycocotools takes a second and 100 MB per 50,000


@dataclass(frozen=True, eq=False)
class TestedRun:
    """One test of a run.

    Attributes:
        run: the run.
        name: which detections, as in their files' names; "" for those of the run's own model.
        split: the tested split.
        model: content of model.json; empty for detections of several models.
        dataset: the tested photos.
        untested: ids of photos of the split without detections.
        removed: ids that have detections, but are not in the split any more or cannot be used.
        replaced: ids of photos that were replaced since they were tested.
        stages: stage -> detections; only one stage if box regression changed nothing.
    """

    __test__ = False  # not a test case, despite its name

    run: Run
    name: str
    split: str
    model: dict[str, Any]
    dataset: Dataset
    untested: tuple[str, ...]
    removed: tuple[str, ...]
    replaced: tuple[str, ...]
    stages: dict[str, DetectionTable]

    @classmethod
    def of(cls, run: Run, name: str | None = None) -> TestedRun:
        """Read the detections in a run folder and the photos of its test split.

        Args:
            run: a run whose test split was tested.
            name: which detections; None: those of the run's own model, or else the only ones.

        Raises:
            FileNotFoundError: there is no such run, or it was not tested.
            ValueError: there are detections of several models, none of them the run's own; or a model or detections are
                damaged, or do not fit.
        """
        split = run.test_split
        name = _choose(run, name)
        tables, tested_photos = _stages(run, name)
        model = _model(run.folder, name)
        lenient = replace(run, skip_bad=True)  # the report names unusable photos
        whole = lenient.dataset(split, model.get("classes") or _classes(run.folder))
        tested_ids = tables[STAGES[0]].ids
        known, ids = set(tested_ids), {r.id for r in whole}
        records = tuple(r for r in whole if r.id in known)
        stages = {stage: _only([r.id for r in records], table) for stage, table in tables.items()}
        untested = tuple(r.id for r in whole if r.id not in known)
        removed = () if run.limit else tuple(i for i in tested_ids if i not in ids)
        dataset = replace(whole, records=records)
        for stage, table in tables.items():
            if (most := table.rows.labels.max(initial=-1)) >= len(dataset.classes):
                there = f"the {len(dataset.classes)} known ones are {listed(dataset.classes)}"
                what = f"{_file(run, name, stage)}: has detections of class number {most}, but {there}"
                raise ValueError(f"{what}; run `sppnet stage test-net` again, or name the data set of the test")
        replaced = _replaced(run, dataset, tested_photos)
        return cls(run, name, split, model, dataset, untested, removed, replaced, stages)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.dataset.classes

    @property
    def calibration(self) -> Calibration | None:
        """What turns margins into probabilities; None if the model has nothing of this kind."""
        values = self.model.get("calibration")
        return Calibration.from_dict(values, len(self.classes)) if values else None

    @property
    def final(self) -> DetectionTable:
        """Detections of the last stage."""
        return list(self.stages.values())[-1]


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores and errors of a tested run.

    Attributes:
        stages: stage -> average precision as VOC defines it.
        coco: COCO's average precision of the last stage; None if there are too many detections.
        errors: kinds of error of the last stage.
        costs: kind -> float64 (K,), average precision lost to it.
    """

    stages: dict[str, EvaluationResult]
    coco: CocoResult | None
    errors: Errors
    costs: dict[Kind, Floats]

    @classmethod
    def of(cls, tested: TestedRun, metric: Metric) -> Scores:
        """Score every stage, and analyse the errors of the last.

        Raises:
            ValueError: a detection is of a class that the model does not have.
        """
        stages = {s: voc.evaluate(d, tested.dataset, metric=metric) for s, d in tested.stages.items()}
        few = len(tested.final.rows) <= MAX_COCO_DETECTIONS
        found = errors.analyse(tested.final, tested.dataset)
        by_coco = coco.evaluate(tested.final, tested.dataset) if few else None
        return cls(stages, by_coco, found, errors.costs(found, metric))

    @property
    def final(self) -> EvaluationResult:
        """Scores of the last stage."""
        return list(self.stages.values())[-1]

    @property
    def recall(self) -> Floats:
        """float64 (K,), share of each class's objects found at any score; nan without objects."""
        truth, n = self.errors.truth, self.errors.n_objects
        found = np.bincount(truth.labels[self.errors.found], minlength=len(n))
        return np.divide(found, n, out=np.full(len(n), np.nan), where=n > 0)


def measure_proposals(tested: TestedRun) -> tuple[dict[str, RecallResult], dict[str, str]]:
    """Measure how well the proposals in the run folder cover the objects.

    Returns:
        source -> recall, the model's own source first; and source -> why it cannot be measured.
    """
    measured: dict[str, RecallResult] = {}
    problems: dict[str, str] = {}
    made = tested.model.get("proposals") or {}
    files = {p.parent.name: p for p in sorted(tested.run.folder.glob(f"proposals/*/{escape(tested.split)}.npz"))}
    for name in sorted(files, key=lambda name: name != made.get("source")):
        limit = made.get("max_boxes") if name == made.get("source") else None
        try:
            refuse_changed(photos_file(files[name]), tested.dataset, "proposals")
            boxes, _ = io.load(files[name])
            measured[name] = recall.evaluate(boxes, tested.dataset, limit)
        except (OSError, ValueError) as error:
            problems[name] = one_line(error)
    return measured, problems


def best_threshold(result: EvaluationResult, label: int) -> tuple[float, float] | None:
    """Return the highest F1 of a class and the score threshold that gives it; None without correct detections."""
    p, r = result.precision[label], result.recall[label]
    if not len(p) or not np.nanmax(r, initial=0.0) > 0:
        return None
    f1 = 2 * p * r / np.maximum(p + r, 1e-12)
    at = int(f1.argmax())
    return float(f1[at]), float(result.scores[label][at])


def mean(values: Iterable[float]) -> float:
    """Return the mean of the values that are not nan; nan if there are none."""
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")


def _choose(run: Run, name: str | None) -> str:
    """Which detections of the test split to report; their files are called <split>-<name>-<stage>.npz."""
    folder, split = run.folder, run.test_split
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such run; train one with `sppnet train`, or check the path")
    there = _names(folder, split)
    if name is None:
        name = "" if "" in there or not there else there[0]
        if name and len(there) > 1:
            raise ValueError(f"{folder}: has detections of {', '.join(there)}; choose one with --detections")
    if name not in there:
        what = f"no detections of {split}" + f" by {name}" * bool(name)
        others = f"; it has those of {', '.join(n or 'its model' for n in there)}" if there else ""
        hint = f"; run `sppnet stage test-net` first{_other_split(folder, split)}"
        raise FileNotFoundError(f"{folder}: {what}{others}{hint}")
    return name


def _names(folder: Path, split: str) -> list[str]:
    end = f"-{STAGES[0]}.npz"
    files = [p.name for p in folder.glob("detections/*.npz") if p.name.endswith(end)]
    return sorted(f[len(split) : -len(end)].strip("-") for f in files if f.startswith(f"{split}-"))


def _other_split(folder: Path, split: str) -> str:
    """A hint at the detections of another split."""
    others = [p.name for p in sorted(folder.glob(f"detections/*-{STAGES[0]}.npz"))]
    others = [name for name in others if not name.startswith(f"{split}-")]
    return f", or name the split with --split (there is {others[0]})" if others else ""


def _stages(run: Run, name: str) -> tuple[dict[str, DetectionTable], dict[str, str]]:
    """The detections of each stage, one stage only if box regression changed nothing; and the SHA-256 of each photo."""
    tables: dict[str, DetectionTable] = {}
    photos: dict[str, str] = {}
    for stage in STAGES:
        path = _file(run, name, stage)
        if stage == STAGES[0] or path.is_file():
            log.info("reading %s", path)
            tables[stage], meta = load_npz(path)
            origins = pop_origins(meta, path) or {}
            photos |= {i: made[0][0] for i, made in origins.items() if made and made[0] and made[0][0]}
    first, last = tables[STAGES[0]], tables.get(STAGES[1])
    if last is not None and (first.ids != last.ids or np.array_equal(first.rows.boxes, last.rows.boxes)):
        del tables[STAGES[1]]
    return tables, photos


def _file(run: Run, name: str, stage: str) -> Path:
    return run.detections(run.test_split, f"{name}-{stage}" if name else stage)


def _replaced(run: Run, dataset: Dataset, photos: Mapping[str, str]) -> tuple[str, ...]:
    """The ids of photos whose contents are not those that were tested."""
    known = next(iter(sorted(run.folder.glob("features/*/photos.json"))), run.folder / "photos.json")
    now = PhotoRecord(known).look(record for record in dataset if photos.get(record.id))
    return tuple(i for i, state in now.items() if state.sha256 != photos[i])


def _model(folder: Path, name: str) -> dict[str, Any]:
    """Content of model.json of the detections' model.

    Names begin with that of the model's folder, unless it is "model", see `detector.testing.detections_name`.
    """
    there = sorted((p.parent.name for p in folder.glob(f"*/{MODEL}")), key=len, reverse=True)
    named = [model for model in there if f"{name}-".startswith(f"{model}-")]
    if not named and name.partition("-")[0] in ("", "softmax", "scales", "nms", *INFERENCE):
        named = ["model"]
    if not named or not (folder / named[0] / MODEL).is_file():
        return {}
    read_settings(folder / named[0])  # a damaged one does not say which classes the detections are of
    return read_json(folder / named[0] / MODEL)


def _classes(folder: Path) -> tuple[str, ...] | None:
    """Classes of any model of the run, as all have the same; None if it has no model."""
    paths = sorted(folder.glob(f"*/{MODEL}"))
    return read_settings(paths[0].parent).classes if paths else None


def _only(ids: Sequence[str], table: Mapping[str, Detections]) -> DetectionTable:
    return DetectionTable.of({i: table[i] for i in ids})
