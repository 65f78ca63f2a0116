"""What each section of the report shows, as plain values for its template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import sppnet
from detection.calibration import LOWEST_THRESHOLD
from detection.evaluation.errors import BACKGROUND_IOU, COSTLY, FOREGROUND_IOU, WRONG, Kind
from proposals.recall import THRESHOLDS, RecallResult
from sppnet.detector.testing import STAGES
from sppnet.report import charts, examples, provenance
from sppnet.report.examples import KIND_NAMES
from sppnet.report.remedies import remedies
from sppnet.report.sentences import findings, remarks
from sppnet.report.tested_run import Scores, TestedRun, best_threshold, mean, measure_proposals

STAGE_NAMES = dict(zip(STAGES, ("before box regression", "after box regression"), strict=True))
METRICS = {
    "voc07": "the mean precision at eleven recalls (VOC 2007)",
    "area": "the area under the precision-recall curve (VOC 2010 and later)",
}
EXPLANATIONS = {
    Kind.LOCALISATION: f"overlaps an object of its class with IoU {BACKGROUND_IOU} to {FOREGROUND_IOU}",
    Kind.SIMILAR: f"on an object of a similar class (IoU {BACKGROUND_IOU} or more)",
    Kind.OTHER: f"on an object of another class (IoU {BACKGROUND_IOU} or more)",
    Kind.BACKGROUND: f"on no object (IoU below {BACKGROUND_IOU})",
    Kind.DUPLICATE: f"a second detection of the same object (IoU {FOREGROUND_IOU} or more)",
    Kind.MISSED: "objects without a correct detection or a localisation error",
}


@dataclass(frozen=True)
class ClassRow:
    """Scores of one class; nan where unknown.

    Attributes:
        name: the class.
        objects: number of objects that are not difficult.
        ap: stage -> average precision.
        coco: COCO's average precision.
        recall: share of the objects found at any score.
        f1: highest F1.
        threshold: score threshold that gives it.
        shown: probability from which detections are shown; None if they have none.
    """

    name: str
    objects: int
    ap: dict[str, float]
    coco: float
    recall: float
    f1: float
    threshold: float
    shown: float | None


@dataclass(frozen=True)
class ErrorKindRow:
    """One kind of error over all classes.

    Attributes:
        kind: its key.
        name: what the report calls it.
        explanation: what it is.
        top: number among the top detections, see `top_detections`.
        total: number among all detections.
        cost: mean average precision lost to it.
    """

    kind: str
    name: str
    explanation: str
    top: int
    total: int
    cost: float


@dataclass(frozen=True)
class ClassErrorsRow:
    """Errors of one class.

    Attributes:
        name: the class.
        top: number of its top detections, see `top_detections`.
        shares: kind -> share of the top detections; correct ones first.
        costs: kind -> average precision lost to it.
    """

    name: str
    top: int
    shares: dict[str, float]
    costs: dict[str, float]


@dataclass(frozen=True)
class ClassCharts:
    """The charts of one class.

    Attributes:
        name: the class.
        lines: stage -> points of its precision-recall curve.
        ap: average precision of the last stage.
        histogram: scores of correct and wrong detections.
        best: position of `threshold` on the histogram's axis; None without correct detections.
        f1: highest F1.
        threshold: score threshold that gives it.
    """

    name: str
    lines: dict[str, str]
    ap: float
    histogram: charts.Histogram
    best: float | None
    f1: float
    threshold: float


def context(tested: TestedRun, scores: Scores) -> dict[str, Any]:
    """Return all values that the template uses."""
    kinds = [k for k in COSTLY if k != Kind.SIMILAR or scores.errors.groups]
    recalls, problems = measure_proposals(tested)
    limits = charts.score_limits([tested.final.rows.scores])
    stages, commands = provenance.time_and_memory(tested)
    noted_in, versions, hardware = provenance.machine(tested.run.folder)
    return {
        "title": f"{tested.run.folder.resolve().name}{f' ({tested.name})' if tested.name else ''}",
        "dataset": tested.dataset.name,
        "version": sppnet.__version__,
        "counts": counts(tested, scores),
        "stages": stage_names(scores),
        "styles": dict(zip(scores.stages, ("first", "last")[-len(scores.stages) :], strict=True)),
        "mean_ap": {stage: result.mean_ap for stage, result in scores.stages.items()},
        "metric": METRICS[scores.final.metric],
        "coco": scores.coco,
        "remarks": list(remarks(tested, scores)),
        "findings": list(findings(scores, recalls, kinds)),
        "remedies": list(remedies(tested, scores, recalls)),
        "rows": list(class_rows(tested, scores)),
        "reliability": reliability(tested, scores),
        "charts": list(class_charts(scores, limits)),
        "limits": limits,
        "kind_names": {kind.name.lower(): name for kind, name in KIND_NAMES.items()},
        "kinds": error_kind_rows(scores, kinds),
        "errors": list(class_errors_rows(scores, kinds)),
        "groups": scores.errors.groups,
        "galleries": examples.galleries(scores.errors, tested.dataset),
        "proposals": recalls,
        "proposal_rows": list(proposal_rows(scores, recalls)),
        "proposal_problems": problems,
        "thresholds": THRESHOLDS,
        "split": tested.split,
        "settings": provenance.settings(tested.model),
        "model": json.dumps(tested.model, indent=1) if tested.model else "",
        "noted_in": noted_in,
        "versions": versions,
        "hardware": hardware,
        "stage_usage": stages,
        "command_usage": commands,
    }


def stage_names(scores: Scores) -> dict[str, str]:
    """Return what the report calls each stage."""
    return {s: STAGE_NAMES[s] if len(scores.stages) > 1 else "without box regression" for s in scores.stages}


def counts(tested: TestedRun, scores: Scores) -> dict[str, int]:
    """Return the numbers at the top of the report."""
    truth = scores.errors.truth
    return {
        "photos": len(tested.dataset),
        "classes": len(tested.classes),
        "objects": int((~truth.difficult).sum()),
        "difficult objects": int(truth.difficult.sum()),
        "detections": len(tested.final.rows),
    }


def reliability(tested: TestedRun, scores: Scores) -> charts.Reliability | None:
    """How often the detections that can be shown are correct, by their probability; None if they have none."""
    calibration, e = tested.calibration, scores.errors
    if calibration is None:
        return None
    ranked = np.concatenate([np.zeros(0, np.int64), *(e.ranked(k) for k in range(len(e.classes)))])  # none is ignored
    probabilities = calibration.probabilities(e.rows.scores[ranked], e.rows.labels[ranked])
    likely = probabilities >= LOWEST_THRESHOLD
    return charts.reliability(probabilities[likely], e.kind[ranked][likely] == Kind.RIGHT, LOWEST_THRESHOLD)


def class_rows(tested: TestedRun, scores: Scores) -> Iterator[ClassRow]:
    """Scores of each class."""
    final, calibration = scores.final, tested.calibration
    for k, name in enumerate(final.classes):
        best = best_threshold(final, k) or (np.nan, np.nan)
        ap = {stage: float(result.ap[k]) for stage, result in scores.stages.items()}
        by_coco = float("nan") if scores.coco is None else float(scores.coco.class_ap[k])
        shown = None if calibration is None else calibration.thresholds[k]
        yield ClassRow(name, int(final.n_objects[k]), ap, by_coco, float(scores.recall[k]), *best, shown)


def class_charts(scores: Scores, limits: tuple[float, float]) -> Iterator[ClassCharts]:
    """Charts of each class; `limits` are the ends of all histograms' axes."""
    e = scores.errors
    for k, name in enumerate(scores.final.classes):
        lines = {stage: charts.curve(r.precision[k], r.recall[k]) for stage, r in scores.stages.items()}
        ranked = e.ranked(k)
        correct = e.kind[ranked] == Kind.RIGHT
        values = e.rows.scores[ranked]
        drawn = charts.histogram(values[correct], values[~correct], limits)
        f1, threshold = best_threshold(scores.final, k) or (np.nan, np.nan)
        best = None if np.isnan(threshold) else charts.position(threshold, limits)
        yield ClassCharts(name, lines, float(scores.final.ap[k]), drawn, best, f1, threshold)


def error_kind_rows(scores: Scores, kinds: list[Kind]) -> list[ErrorKindRow]:
    """Number and cost of each kind of error."""
    e, top = scores.errors, top_detections(scores)
    rows = []
    for kind in kinds:
        total = int(e.missed.sum()) if kind == Kind.MISSED else int((e.kind == kind).sum())
        among = int((e.kind[top] == kind).sum())
        cost = mean(scores.costs[kind])
        rows.append(ErrorKindRow(kind.name.lower(), KIND_NAMES[kind], EXPLANATIONS[kind], among, total, cost))
    return rows


def class_errors_rows(scores: Scores, kinds: list[Kind]) -> Iterator[ClassErrorsRow]:
    """Errors of each class."""
    e = scores.errors
    for k, name in enumerate(e.classes):
        top = e.kind[e.ranked(k)[: e.n_objects[k]]]
        n = max(1, len(top))
        shares = {kind.name.lower(): float((top == kind).sum()) / n for kind in (Kind.RIGHT, *WRONG)}
        costs = {kind.name.lower(): float(scores.costs[kind][k]) for kind in kinds}
        yield ClassErrorsRow(name, len(top), shares, costs)


def top_detections(scores: Scores) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the rows of each class's best detections, as many as it has objects."""
    e = scores.errors
    parts = [e.ranked(k)[:n] for k, n in enumerate(e.n_objects.tolist())]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def proposal_rows(scores: Scores, recalls: dict[str, RecallResult]) -> Iterator[dict[str, Any]]:
    """Share of each class's objects that the proposals of the first source cover, and that the detector finds."""
    measured = next(iter(recalls.values()), None)
    if measured is None:
        return
    covered = measured.class_recall
    for k, name in enumerate(scores.final.classes):
        yield {
            "name": name,
            "objects": int(measured.objects[k]),
            "covered": {t: float(values[k]) for t, values in covered.items()},
            "found": float(scores.recall[k]),
        }
