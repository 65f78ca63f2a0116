"""Sentences at the top of the report: what is missing from the test, and the most important results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from data.names import listed
from detection.evaluation.errors import Kind
from proposals.recall import THRESHOLDS, RecallResult
from sppnet.report.examples import KIND_NAMES
from sppnet.report.tested_run import Scores, TestedRun, mean
from sppnet.text import counted, percent


def remarks(tested: TestedRun, scores: Scores) -> Iterator[str]:
    """Sentences about what is missing from the test."""
    if not len(tested.dataset):
        yield "No photo of the split has detections, so there is nothing to evaluate."
    if tested.untested:
        yield f"Not tested and not counted: {_photos(tested.untested)} of the split ({listed(tested.untested)})."
    bad = tested.dataset.bad
    if bad:
        reasons = [f"{i}: {reason}" for i, reason in bad.items()]
        yield f"Unusable and not counted: {_photos(reasons)} ({listed(reasons, separator='; ')})."
    removed = [i for i in tested.removed if i not in bad]
    if removed:
        yield f"Tested, but no longer in the split: {_photos(removed)} ({listed(removed)})."
    unknown = [f"{name} ({count})" for name, count in tested.dataset.left_out.items()]
    if unknown:
        yield f"Not counted, because the detector does not know these classes: objects of {listed(unknown)}."
    if tested.replaced:
        shown = "pictures show the photos as they are now"
        yield f"Replaced since they were tested: {_photos(tested.replaced)} ({listed(tested.replaced)}); {shown}."
    without = [c for c, n in zip(tested.classes, scores.errors.n_objects, strict=True) if not n]
    if without and len(tested.dataset):
        names = listed(without)
        yield f"The tested photos have no objects of {names}, or only difficult ones; means leave these classes out."
    if not len(tested.final.rows) and len(tested.dataset):
        yield "The detector found nothing: every object is missed."


def findings(scores: Scores, recalls: dict[str, RecallResult], kinds: list[Kind]) -> Iterator[str]:
    """Sentences about the most important results."""
    now = scores.final.mean_ap
    if np.isnan(now):
        return
    cost = {k: mean(scores.costs[k]) for k in kinds}
    worst = max(cost, key=lambda k: cost[k])
    if cost[worst] > 0:
        gain = f"{percent(now + cost[worst])} instead of {percent(now)}"
        yield f"The most costly kind of error is “{KIND_NAMES[worst]}”: without it, mAP would be {gain}."
    ap = scores.final.ap
    order = [k for k in np.argsort(ap, kind="stable").tolist() if not np.isnan(ap[k])]
    if len(order) > 3:
        low, high = (_named(scores, part) for part in (order[:3], order[:-4:-1]))
        yield f"Lowest AP: {low}. Highest: {high}."
    truth = scores.errors.truth
    found = f"{percent(scores.errors.found.sum() / (~truth.difficult).sum())} % of the objects are found at some score"
    measured = next(iter(recalls.items()), None)
    if measured:
        name, result = measured
        found += f"; the proposals ({name}) cover {percent(result.recall[THRESHOLDS[0]])} % at IoU {THRESHOLDS[0]}"
    yield f"{found}."


def _named(scores: Scores, labels: Sequence[int]) -> str:
    return ", ".join(f"{scores.final.classes[k]} {percent(scores.final.ap[k])}" for k in labels)


def _photos(items: Sequence[str]) -> str:
    return counted(len(items), "photo")
