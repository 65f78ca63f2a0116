"""What is known of a tested run: its photos, detections, scores, errors and proposals."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tools.common import Run, one_line

from data.records import Dataset
from detection.detection_table import DetectionTable, load_npz
from detection.detections import Detections
from detection.evaluation import coco, errors, voc
from detection.evaluation.coco import CocoResult
from detection.evaluation.errors import Errors, Kind
from detection.evaluation.voc import EvaluationResult, Metric
from detection.model import MODEL
from proposals import io, recall
from proposals.recall import RecallResult
from sppnet.progress import log

Floats = NDArray[np.float64]
STAGES = ("windows", "regressed")  # before and after box regression, the ends of the files' names
COCO_DETECTIONS = 1_000_000  # pycocotools wants a second and 100 MB for 50,000
RECORDED = ("data", "devkit", "data_root", "voc2007", "test_split", "metric")  # flags that a run's json files tell


@dataclass(frozen=True, eq=False)
class Tested:
    """One test of a run.

    Attributes:
        run: whose.
        name: of the detections, "" those of the run's own model.
        split: of the data set.
        model: what model.json says; empty where the detections are of several models.
        dataset: the photos that were tested.
        untested: ids of photos of the split that have no detections.
        gone: ids that have detections and are no longer in the split, or cannot be used.
        stages: stage -> detections; one stage where there was no box regression.
    """

    run: Run
    name: str
    split: str
    model: dict[str, Any]
    dataset: Dataset
    untested: tuple[str, ...]
    gone: tuple[str, ...]
    stages: dict[str, DetectionTable]

    @classmethod
    def of(cls, run: Run, name: str | None = None) -> Tested:
        """The test that a run folder holds of its test split.

        Args:
            run: its options tell the split.
            name: which, where there are several; None: that of the run's own model, or else the only one.

        Raises:
            FileNotFoundError: there is no such run, or it was never tested.
            ValueError: there are several, and none is of the run's own model.
        """
        split = run.options.test_split
        name = _choose(run, split, name)
        tables = _stages(run, split, name)
        model = _model(run.folder, name)
        options = Namespace(**{**vars(run.options), "skip_bad": True})  # said in the report, rather than no report
        whole = replace(run, options=options).dataset(split, model.get("classes") or _classes(run.folder))
        known = set(tables[STAGES[0]].ids)
        records = tuple(r for r in whole if r.id in known)
        ids = {r.id for r in whole}
        tested = {stage: _only([r.id for r in records], table) for stage, table in tables.items()}
        untested = tuple(r.id for r in whole if r.id not in known)
        gone = () if run.options.limit else tuple(i for i in tables[STAGES[0]].ids if i not in ids)
        return cls(run, name, split, model, replace(whole, records=records), untested, gone, tested)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.dataset.classes

    @property
    def final(self) -> DetectionTable:
        """Those of the last stage."""
        return list(self.stages.values())[-1]


@dataclass(frozen=True, eq=False)
class Scores:
    """Figures of a test.

    Attributes:
        stages: stage -> VOC's scores.
        coco: COCO's of the last stage; None where it would take too long.
        errors: of the last stage.
        costs: kind -> float64 (K,), average precision that it costs.
    """

    stages: dict[str, EvaluationResult]
    coco: CocoResult | None
    errors: Errors
    costs: dict[Kind, Floats]

    @classmethod
    def of(cls, tested: Tested, metric: Metric) -> Scores:
        """Of every stage, and the errors of the last.

        Raises:
            ValueError: a detection is of a class that the model does not have.
        """
        stages = {s: voc.evaluate(d, tested.dataset, metric=metric) for s, d in tested.stages.items()}
        few = len(tested.final.rows) <= COCO_DETECTIONS
        found = errors.analyse(tested.final, tested.dataset)
        by_coco = coco.evaluate(tested.final, tested.dataset) if few else None
        return cls(stages, by_coco, found, errors.costs(found, metric))

    @property
    def final(self) -> EvaluationResult:
        return list(self.stages.values())[-1]

    @property
    def recall(self) -> Floats:
        """float64 (K,): part of each class's objects that any detection finds; nan where there is none."""
        truth, n = self.errors.truth, self.errors.n_objects
        found = np.bincount(truth.labels[self.errors.found], minlength=len(n))
        return np.divide(found, n, out=np.full(len(n), np.nan), where=n > 0)


def recorded(folder: Path) -> dict[str, Any]:
    """The flags that name the data, from the newest json file of a command in a run folder; empty without one."""
    files = sorted(folder.glob("*.json"), key=lambda p: p.stat().st_mtime, reverse=True)
    for path in files:
        settings = (read_json(path) or {}).get("settings")
        if isinstance(settings, dict) and (settings.get("voc2007") or settings.get("data") or settings.get("devkit")):
            paths = {k: Path(settings[k]) for k in ("data", "devkit", "data_root") if settings.get(k)}
            return {k: settings[k] for k in RECORDED if settings.get(k)} | paths
    return {}


def read_json(path: Path) -> dict[str, Any] | None:
    """An object in a json file; None where there is none, with a warning where it is damaged."""
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        log.warning("%s: left out, it cannot be read (%s)", path, one_line(error))
        return None
    return value if isinstance(value, dict) else None


def measure_proposals(tested: Tested) -> tuple[dict[str, RecallResult], dict[str, str]]:
    """How well the windows that a run holds cover the objects.

    Returns:
        source -> its measures, the model's own source first; and source -> why it cannot be measured.
    """
    measured: dict[str, RecallResult] = {}
    problems: dict[str, str] = {}
    made = tested.model.get("proposals") or {}
    files = {p.parent.name: p for p in sorted(tested.run.folder.glob(f"proposals/*/{tested.split}.npz"))}
    for name in sorted(files, key=lambda name: name != made.get("source")):
        limit = made.get("max_boxes") if name == made.get("source") else None
        try:
            boxes, _ = io.load(files[name])
            measured[name] = recall.evaluate(boxes, tested.dataset, limit)
        except (OSError, ValueError) as error:
            problems[name] = one_line(error)
    return measured, problems


def _choose(run: Run, split: str, name: str | None) -> str:
    """Which of the tests of a split; their files are <split>-<name>-<stage>.npz."""
    if not run.folder.is_dir():
        raise FileNotFoundError(f"{run.folder}: no such run; train one with sppnet-train, or check the path")
    there = _names(run.folder, split)
    if name is None:
        name = "" if "" in there or not there else there[0]
        if name and len(there) > 1:
            raise ValueError(f"{run.folder}: has detections of {', '.join(there)}; say which with --detections")
    if name not in there:
        what = f"no detections of {split}" + f" by {name}" * bool(name)
        others = f"; it has those of {', '.join(n or 'its model' for n in there)}" if there else ""
        raise FileNotFoundError(f"{run.folder}: {what}{others}; run test_net first{_other_splits(run, split)}")
    return name


def _names(folder: Path, split: str) -> list[str]:
    end = f"-{STAGES[0]}.npz"
    files = [p.name for p in folder.glob("detections/*.npz") if p.name.endswith(end)]
    return sorted(f[len(split) : -len(end)].strip("-") for f in files if f.startswith(f"{split}-"))


def _other_splits(run: Run, split: str) -> str:
    others = [p.name for p in sorted(run.folder.glob(f"detections/*-{STAGES[0]}.npz"))]
    others = [name for name in others if not name.startswith(f"{split}-")]
    return f", or name the split with --split ({others[0]} is there)" if others else ""


def _stages(run: Run, split: str, name: str) -> dict[str, DetectionTable]:
    """The detections of each stage; without box regression both files hold the same boxes."""
    tables = {}
    for stage in STAGES:
        path = run.detections(split, f"{name}-{stage}" if name else stage)
        if stage == STAGES[0] or path.is_file():
            log.info("reading %s", path)
            tables[stage] = load_npz(path)[0]
    first, last = tables[STAGES[0]], tables.get(STAGES[1])
    if last is not None and (first.ids != last.ids or np.array_equal(first.rows.boxes, last.rows.boxes)):
        del tables[STAGES[1]]
    return tables


def _model(folder: Path, name: str) -> dict[str, Any]:
    """What model.json says of the model that detected; softmax scores are of the model beside."""
    for candidate in dict.fromkeys([name or "model", name.removesuffix("softmax").rstrip("-") or "model"]):
        found = read_json(folder / candidate / MODEL)
        if found:
            return found
    return {}


def _classes(folder: Path) -> list[str] | None:
    """Those of any model of the run, which all have the same; None where there is none."""
    models = (read_json(path) or {} for path in sorted(folder.glob(f"*/{MODEL}")))
    return next((model["classes"] for model in models if "classes" in model), None)


def _only(ids: Sequence[str], table: Mapping[str, Detections]) -> DetectionTable:
    return DetectionTable.of({i: table[i] for i in ids})


def best_threshold(result: EvaluationResult, label: int) -> tuple[float, float] | None:
    """Greatest F1 of a class and the score where it is reached; None where there is nothing right."""
    p, r = result.precision[label], result.recall[label]
    if not len(p) or not np.nanmax(r, initial=0.0) > 0:
        return None
    f1 = 2 * p * r / np.maximum(p + r, 1e-12)
    at = int(f1.argmax())
    return float(f1[at]), float(result.scores[label][at])


def score(value: float, digits: int = 2) -> str:
    """-0.5 -> −0.50, with a minus sign; a dash for nan."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def mean(values: Iterable[float]) -> float:
    """Of those that are known; nan where none is."""
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")
