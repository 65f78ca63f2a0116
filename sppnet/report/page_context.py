"""What the sections of a report say: plain values for its template."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import detection
from detection.evaluation.errors import BACKGROUND_IOU, COSTLY, FOREGROUND_IOU, WRONG, Kind
from proposals.recall import THRESHOLDS, RecallResult
from sppnet.report import charts, examples, provenance
from sppnet.report.examples import NAMES
from sppnet.report.tested_run import STAGES, Scores, Tested, best_threshold, mean, measure_proposals

STAGE_NAMES = dict(zip(STAGES, ("before box regression", "after box regression"), strict=True))
METRICS = {"voc07": "the mean of eleven precisions (VOC 2007)", "area": "the area under the curve"}
FAULTS = 20  # named of each kind
EXPLAINED = {
    Kind.LOCALISATION: f"an object of the class overlapped by IoU {BACKGROUND_IOU} to {FOREGROUND_IOU}",
    Kind.SIMILAR: f"on an object of a similar class (IoU {BACKGROUND_IOU} or more)",
    Kind.OTHER: f"on an object of another class (IoU {BACKGROUND_IOU} or more)",
    Kind.BACKGROUND: f"on no object (IoU under {BACKGROUND_IOU})",
    Kind.DUPLICATE: f"a second detection of an object (IoU {FOREGROUND_IOU} or more)",
    Kind.MISSED: "objects that no detection of the class finds or nearly finds",
}


@dataclass(frozen=True)
class ClassRow:
    """One class: objects, AP of each stage, COCO's AP, recall, greatest F1 and its score; nan where unknown."""

    name: str
    objects: int
    ap: dict[str, float]
    coco: float
    recall: float
    f1: float
    threshold: float


@dataclass(frozen=True)
class KindRow:
    """One kind of error over all classes: how many among the first detections and in all, and its mean cost."""

    kind: str
    name: str
    explained: str
    first: int
    total: int
    cost: float


@dataclass(frozen=True)
class ErrorRow:
    """One class: what its first detections are, as shares that sum to 1, and what each kind costs."""

    name: str
    first: int
    shares: dict[str, float]
    costs: dict[str, float]


@dataclass(frozen=True)
class Panel:
    """A small chart of one class."""

    name: str
    lines: dict[str, str]
    ap: float
    histogram: charts.Histogram
    best: float | None
    f1: float
    threshold: float


def context(tested: Tested, scores: Scores) -> dict[str, Any]:
    """All that the template asks for."""
    rows = list(class_rows(scores))
    kinds = [k for k in COSTLY if k != Kind.SIMILAR or scores.errors.groups]
    windows, problems = measure_proposals(tested)
    limits = charts.limits_of([tested.final.rows.scores])
    stages, commands = provenance.spent(tested)
    noted_in, versions, hardware = provenance.machine(tested.run.folder)
    return {
        "title": f"{tested.run.folder.resolve().name}{f' ({tested.name})' if tested.name else ''}",
        "dataset": tested.dataset.name,
        "version": detection.__version__,
        "counts": counts(tested, scores),
        "stages": stage_names(scores),
        "looks": dict(zip(scores.stages, ("first", "last")[-len(scores.stages) :], strict=True)),
        "mean_ap": {stage: result.mean_ap for stage, result in scores.stages.items()},
        "metric": METRICS[scores.final.metric],
        "coco": scores.coco,
        "remarks": list(remarks(tested, scores)),
        "findings": list(findings(scores, windows, kinds)),
        "rows": rows,
        "panels": list(panels(scores, limits)),
        "limits": limits,
        "kinds": kind_rows(scores, kinds),
        "errors": list(error_rows(scores, kinds)),
        "groups": scores.errors.groups,
        "galleries": examples.galleries(scores.errors, tested.dataset),
        "windows": windows,
        "window_rows": list(window_rows(scores, windows)),
        "window_problems": problems,
        "thresholds": THRESHOLDS,
        "split": tested.split,
        "settings": provenance.settings(tested.model),
        "model": json.dumps(tested.model, indent=1) if tested.model else "",
        "noted_in": noted_in,
        "versions": versions,
        "hardware": hardware,
        "spent": stages,
        "commands": commands,
    }


def stage_names(scores: Scores) -> dict[str, str]:
    """What the report calls each stage."""
    return {s: STAGE_NAMES[s] if len(scores.stages) > 1 else "without box regression" for s in scores.stages}


def counts(tested: Tested, scores: Scores) -> dict[str, int]:
    truth = scores.errors.truth
    return {
        "photos": len(tested.dataset),
        "classes": len(tested.classes),
        "objects": int((~truth.difficult).sum()),
        "difficult objects": int(truth.difficult.sum()),
        "detections": len(tested.final.rows),
    }


def remarks(tested: Tested, scores: Scores) -> Iterator[str]:
    """What limits the figures, in sentences."""
    if not len(tested.dataset):
        yield "No photo of the split has detections: nothing below can say anything."
    if tested.untested:
        yield f"Not tested, and counted nowhere: {_photos(tested.untested)} of the split ({_some(tested.untested)})."
    bad = tested.dataset.bad
    if bad:
        told = [f"{i}: {reason}" for i, reason in bad.items()]
        yield f"Unusable, and counted nowhere: {_photos(told)} ({_some(told, '; ')})."
    gone = [i for i in tested.gone if i not in bad]
    if gone:
        yield f"Tested, but no longer in the split: {_photos(gone)} ({_some(gone)})."
    without = [c for c, n in zip(tested.classes, scores.errors.n_objects, strict=True) if not n]
    if without and len(tested.dataset):
        yield f"No tested photo has an object to find of {_some(without)}: no average precision, left out of the means."
    if not len(tested.final.rows) and len(tested.dataset):
        yield "The detector found nothing at all: every object is missed."


def findings(scores: Scores, windows: dict[str, RecallResult], kinds: list[Kind]) -> Iterator[str]:
    """What stands out, in sentences."""
    now = scores.final.mean_ap
    if np.isnan(now):
        return
    cost = {k: mean(scores.costs[k]) for k in kinds}
    worst = max(cost, key=lambda k: cost[k])
    if cost[worst] > 0:
        gain = f"{100 * (now + cost[worst]):.1f} instead of {100 * now:.1f}"
        yield f"Of the kinds of error, {NAMES[worst]} costs most: without it mAP would be {gain}."
    ap = scores.final.ap
    order = [k for k in np.argsort(ap, kind="stable").tolist() if not np.isnan(ap[k])]
    if len(order) > 3:
        low, high = (_named(scores, part) for part in (order[:3], order[:-4:-1]))
        yield f"Lowest AP: {low}. Highest: {high}."
    truth = scores.errors.truth
    n = int((~truth.difficult).sum())
    found = f"{100 * scores.errors.found.sum() / n:.1f} % of the objects are found at any score"
    measured = next(iter(windows.items()), None)
    if measured:
        name, result = measured
        found += f"; the windows ({name}) cover {100 * result.recall[THRESHOLDS[0]]:.1f} % at IoU {THRESHOLDS[0]}"
    yield f"{found}."


def _named(scores: Scores, labels: Sequence[int]) -> str:
    return ", ".join(f"{scores.final.classes[k]} {100 * scores.final.ap[k]:.1f}" for k in labels)


def class_rows(scores: Scores) -> Iterator[ClassRow]:
    final = scores.final
    for k, name in enumerate(final.classes):
        best = best_threshold(final, k) or (np.nan, np.nan)
        ap = {stage: float(result.ap[k]) for stage, result in scores.stages.items()}
        by_coco = float("nan") if scores.coco is None else float(scores.coco.class_ap[k])
        yield ClassRow(name, int(final.n_objects[k]), ap, by_coco, float(scores.recall[k]), *best)


def panels(scores: Scores, limits: tuple[float, float]) -> Iterator[Panel]:
    """The charts of each class."""
    e = scores.errors
    for k, name in enumerate(scores.final.classes):
        lines = {stage: charts.curve(r.precision[k], r.recall[k]) for stage, r in scores.stages.items()}
        ranked = e.ranked(k)
        right = e.kind[ranked] == Kind.RIGHT
        values = e.rows.scores[ranked]
        drawn = charts.histogram(values[right], values[~right], limits)
        f1, threshold = best_threshold(scores.final, k) or (np.nan, np.nan)
        at = None if np.isnan(threshold) else charts.place(threshold, limits)
        yield Panel(name, lines, float(scores.final.ap[k]), drawn, at, f1, threshold)


def kind_rows(scores: Scores, kinds: list[Kind]) -> list[KindRow]:
    """Over all classes."""
    e, first = scores.errors, _first(scores)
    rows = []
    for kind in kinds:
        seen = int(e.missed.sum()) if kind == Kind.MISSED else int((e.kind == kind).sum())
        among = int((e.kind[first] == kind).sum())
        rows.append(KindRow(kind.name.lower(), NAMES[kind], EXPLAINED[kind], among, seen, mean(scores.costs[kind])))
    return rows


def error_rows(scores: Scores, kinds: list[Kind]) -> Iterator[ErrorRow]:
    """Of each class, with the share that its first detections have of each kind, the right ones first."""
    e = scores.errors
    for k, name in enumerate(e.classes):
        first = e.kind[e.ranked(k)[: e.n_objects[k]]]
        n = max(1, len(first))
        shares = {kind.name.lower(): float((first == kind).sum()) / n for kind in (Kind.RIGHT, *WRONG)}
        yield ErrorRow(name, len(first), shares, {kind.name.lower(): float(scores.costs[kind][k]) for kind in kinds})


def _first(scores: Scores) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Of each class as many of the best detections as it has objects."""
    e = scores.errors
    parts = [e.ranked(k)[:n] for k, n in enumerate(e.n_objects.tolist())]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def window_rows(scores: Scores, windows: dict[str, RecallResult]) -> Iterator[dict[str, Any]]:
    """Of each class, how many objects the windows of the first source cover, and the detector finds."""
    measured = next(iter(windows.values()), None)
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


def _photos(items: Sequence[str]) -> str:
    return "1 photo" if len(items) == 1 else f"{len(items)} photos"


def _some(items: Sequence[str], between: str = ", ") -> str:
    more = f"{between}and {len(items) - FAULTS} more" if len(items) > FAULTS else ""
    return between.join(items[:FAULTS]) + more
