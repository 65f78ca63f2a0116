"""Scores of a run's detections, and the result files that hold them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.records import Dataset
from detection.evaluation import coco, results, voc
from detection.evaluation.coco import CocoResult
from detection.evaluation.voc import EvaluationResult, Metric
from sppnet.detector.testing import Stages
from sppnet.progress import log
from sppnet.run import Run
from sppnet.text import NOT_AVAILABLE, left_out, percent

COCO_FIGURES = ("ap", "ap50", "ap75")


@dataclass(frozen=True, eq=False)
class TestScores:
    """Scores of each stage, "windows" and with box regression "regressed".

    Attributes:
        voc: stage -> VOC's average precisions.
        coco: stage -> COCO's.
        folders: stage -> folder with comp4 files, COCO json and curves.
        left_out: class -> number of objects that count nowhere because training has no such class.
    """

    __test__ = False  # not a test case, despite its name

    voc: dict[str, EvaluationResult]
    coco: dict[str, CocoResult]
    folders: dict[str, Path]
    left_out: dict[str, int] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Stage -> plain values for json, with the objects that were left out if there are any."""
        more = {"left_out": self.left_out} if self.left_out else {}
        return {
            stage: results.summary(result) | {"coco": _known(self.coco[stage])} | more
            for stage, result in self.voc.items()
        }

    def lines(self) -> Iterator[str]:
        """A table of all classes, then one line per stage."""
        yield results.format_table(next(iter(self.voc.values())).classes, self.voc)
        for stage, result in self.voc.items():
            c = self.coco[stage]
            figures = (f"{result.metric} mAP", result.mean_ap), ("COCO AP", c.ap), ("AP50", c.ap50)
            yield f"{stage}: {', '.join(f'{name} {_percent(value)}' for name, value in figures)}"
        if self.left_out:
            yield left_out(self.left_out)

    def headline(self) -> str:
        """Mean average precision before and after box regression, in one line."""
        windows, regressed = (self.voc.get(stage) for stage in ("windows", "regressed"))
        after = f", {_percent(regressed.mean_ap)} after it" if regressed else ""
        assert windows is not None
        return f"mAP {_percent(windows.mean_ap)} before box regression{after}"


def score_detections(run: Run, dataset: Dataset, stages: Stages, metric: Metric, name: str = "") -> TestScores:
    """Score every stage and write comp4 files, COCO json and curves.npz into the results folder.

    Args:
        run: keeps the results.
        dataset: the tested images.
        stages: stage -> image id -> detections.
        metric: "voc07" or "area".
        name: what the folders' names contain between split and stage.

    Raises:
        OSError: a file cannot be written.
    """
    scored = {stage: voc.evaluate(d, dataset, metric=metric) for stage, d in stages.items()}
    if not next(iter(scored.values())).n_objects.any():
        log.warning("%s: no object that counts, none at all or only difficult ones: mAP is n/a", dataset.name)
    part = f"-first-{run.limit}" if run.limit else ""  # results of a part do not replace those of the whole split
    by_coco, folders = {}, {}
    for stage, detections in stages.items():
        folder = run.results / f"{run.test_split}{part}-{name}{stage}"
        folder.mkdir(parents=True, exist_ok=True)
        results.write_comp4(folder, detections, dataset.classes, run.test_split)
        results.write_coco_json(folder / "coco_results.json", detections, *coco.ids_of(dataset))
        by_coco[stage] = coco.evaluate(detections, dataset)
        log.info("comp4 files, COCO json: %s", folder)
        results.write_curves(folder / "curves.npz", scored[stage])
        folders[stage] = folder
    return TestScores(scored, by_coco, folders, dataset.left_out)


def _known(result: CocoResult) -> Mapping[str, float | None]:
    return {k: None if math.isnan(v := getattr(result, k)) else v for k in COCO_FIGURES}


def _percent(value: float) -> str:
    return percent(value, unknown=NOT_AVAILABLE)
