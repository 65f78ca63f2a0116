"""What to try next: settings that lessen the errors of the tested detector, each beside the error."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detection.config import Config
from detection.evaluation.errors import Kind
from proposals.recall import THRESHOLDS, RecallResult
from sppnet.detector.choice_rules import COUNTED, SIDES, STRIDE, WIDE_ENOUGH, relative_widths
from sppnet.report.tested_run import Scores, TestedRun, mean
from sppnet.text import percent

COVERED = 0.9  # share of a class's objects that windows should cover at an IoU of 0.5
SEARCHES = ("ss", "ss-single", "edgeboxes", "ss+edgeboxes")  # sources that a grid completes
WORTH = 0.03  # mean average precision lost to a kind of error that is worth a remedy
WEAK = 0.9  # share of the mean average precision below which a class is weak
NAMED = 3  # classes in one sentence


@dataclass(frozen=True)
class Remedy:
    """Something to try.

    Attributes:
        error: what it would lessen, a sentence without its full stop.
        command: flags of `sppnet train`, or a command.
    """

    error: str
    command: str


def remedies(tested: TestedRun, scores: Scores, recalls: dict[str, RecallResult]) -> Iterator[Remedy]:
    """What would help; nothing where that is not clear.

    Args:
        tested: detections, photos and model.
        scores: of the detections.
        recalls: source of proposals -> how well it covers the objects, the model's own first.
    """
    if not tested.model or np.isnan(scores.final.mean_ap):
        return
    config = Config.from_dict(tested.model["config"])
    yield from _larger_photos(tested, scores, config)
    yield from _more_windows(tested, scores, recalls)
    lost = {kind: cost for kind, costs in scores.costs.items() if (cost := mean(costs)) >= WORTH}
    if Kind.LOCALISATION in lost and config.inference != "best":
        yield Remedy(f"{_points(lost[Kind.LOCALISATION])} are lost to badly placed boxes", "--inference best")
    if Kind.DUPLICATE in lost and config.test.nms_iou > 0.2:
        overlap = f"--nms-iou {config.test.nms_iou - 0.1:.2g}"
        yield Remedy(f"{_points(lost[Kind.DUPLICATE])} are lost to second detections of an object", overlap)
    confused = max(lost.get(kind, 0) for kind in (Kind.SIMILAR, Kind.OTHER, Kind.BACKGROUND))
    if confused:
        what = "other classes or background, which more labelled photos lessen"
        folder = shlex.quote(str(tested.run.folder / (tested.name or "model")))
        command = f"sppnet suggest PHOTOS --model {folder}"
        yield Remedy(f"{_points(confused)} are lost to detections on {what}", command)


def _larger_photos(tested: TestedRun, scores: Scores, config: Config) -> Iterator[Remedy]:
    """A larger short side for weak classes whose objects span few cells."""
    side = max(config.pooling.scales)
    larger = next((s for s in SIDES if s > side), None)
    cells = {name: width * side / STRIDE for name, width in relative_widths(tested.dataset).items()}
    weak = [f"{name} {cells[name]:.1f}" for name in _weak(scores) if cells.get(name, WIDE_ENOUGH) < WIDE_ENOUGH]
    if weak and larger:
        error = (
            f"Objects of weak classes span few cells of the map at a short side of {side}: {', '.join(weak[:NAMED])}"
        )
        yield Remedy(error, f"--scales {larger}")


def _more_windows(tested: TestedRun, scores: Scores, recalls: dict[str, RecallResult]) -> Iterator[Remedy]:
    """A grid for weak classes that the model's own windows do not cover."""
    measured = next(iter(recalls.values()), None)
    source = (tested.model.get("proposals") or {}).get("source")
    if measured is None or source not in SEARCHES:
        return
    covered = dict(zip(scores.final.classes, measured.class_recall[THRESHOLDS[0]].tolist(), strict=True))
    weak = [f"{percent(covered[name])} % of {name}" for name in _weak(scores) if covered[name] < COVERED]
    if weak:
        yield Remedy(f"The windows of {source} cover only {', '.join(weak[:NAMED])}", "--proposals ss+grid")


def _weak(scores: Scores) -> list[str]:
    """Classes with enough objects whose average precision is clearly below the mean, the weakest first."""
    result = scores.final
    order = np.argsort(result.ap, kind="stable").tolist()
    enough = [k for k in order if result.n_objects[k] >= COUNTED]
    return [result.classes[k] for k in enough if result.ap[k] < WEAK * result.mean_ap]


def _points(lost: float) -> str:
    return f"{percent(lost)} points of mAP"
