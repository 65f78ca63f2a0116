"""Write the report of a tested run as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import math
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from detection.evaluation.results import summary
from detection.evaluation.voc import Metric
from detection.files import MARK
from sppnet.files import write_text
from sppnet.output_files import check_file
from sppnet.report import page_context
from sppnet.report.tested_run import Scores, TestedRun, best_threshold, mean
from sppnet.run import Run
from sppnet.text import clock, percent, score, size

REPORT, STYLE, SCRIPT = "report.html", "report.css", "report.js"
TEMPLATES = Path(__file__).parent


def write_html(
    run: Run, name: str | None = None, metric: Metric = "voc07", out: Path | None = None
) -> tuple[Path, dict[str, Any]]:
    """Write the report of a run's test.

    Args:
        run: a tested run; its test split is reported.
        name: which detections, if the run has several; None: those of its own model, or else the only ones.
        metric: "voc07" or "area".
        out: the file to write; None: report.html in the run folder.

    Returns:
        the file, and the main figures, see `figures`.

    Raises:
        FileExistsError: the file to write is there and not from sppnet.
        FileNotFoundError: there is no such run, or it was not tested.
        OSError, ValueError: the data set or the detections cannot be read, or the report cannot be written.
    """
    path = out or run.folder / REPORT
    check_file(path)
    tested = TestedRun.of(run, name)
    scores = Scores.of(tested, metric)
    write_text(path, render(tested, scores))
    return path, figures(tested, scores)


def render(tested: TestedRun, scores: Scores) -> str:
    """Return the report as HTML; names of classes, photos and folders are escaped.

    Its content security policy allows its one style, its one script and its pictures, by their hashes and as data.
    """
    style, script = ((TEMPLATES / name).read_text("utf-8") for name in (STYLE, SCRIPT))
    loader = jinja2.FileSystemLoader(TEMPLATES)
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    pages.filters |= {"percent": percent, "score": score, "clock": clock, "size": size}
    return pages.get_template(REPORT).render(
        page_context.context(tested, scores),
        origin=MARK,
        style=markupsafe.Markup(style),
        script=markupsafe.Markup(script),
        policy=policy(style, script),
    )


def policy(style: str, script: str) -> str:
    """Return the content security policy of a page with one style and one script within it."""
    hashes = [base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in (style, script)]
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
        f"style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'"
    )


def figures(tested: TestedRun, scores: Scores) -> dict[str, Any]:
    """Return the main figures as plain values for json.

    Returns:
        "photos" and "untested": numbers of photos; "stages": stage -> scores; "mean_cost": kind of error -> mean
        average precision lost to it; "thresholds": class -> score threshold of its highest F1.
    """
    kinds = {kind.name.lower(): _or_none(mean(cost)) for kind, cost in scores.costs.items()}
    stages = {stage: summary(result) for stage, result in scores.stages.items()}
    best = {name: best_threshold(scores.final, k) for k, name in enumerate(tested.classes)}
    thresholds = {name: found[1] for name, found in best.items() if found}
    counts = {"photos": len(tested.dataset), "untested": len(tested.untested)}
    return counts | {"stages": stages, "mean_cost": kinds, "thresholds": thresholds}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
