"""Write what a tested run is good and bad at as one page, report.html: scores, curves, kinds of error, examples.

sppnet-report runs/my_photos
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from sppnet import progress
from tools import common

if TYPE_CHECKING:
    from detection.evaluation.voc import Metric
    from sppnet.report.tested_run import Scores, Tested

REPORT = "report.html"
TEMPLATES = Path(__file__).parent / "templates"
DATA_FLAGS = ("voc2007", "data", "devkit")


def write_report(
    run: common.Run, name: str | None = None, metric: Metric = "voc07", out: Path | None = None
) -> tuple[Path, dict[str, Any]]:
    """Write the report of a run's test.

    Args:
        run: a tested run; its options tell the data set and the test split.
        name: of the detections, where there are several; None: those of the run's own model, or the only ones.
        metric: "voc07" or "area".
        out: the file; None: report.html in the run folder.

    Returns:
        the file, and its main figures for json.

    Raises:
        FileNotFoundError: there is no such run, or it was never tested; the line says what to do first.
        OSError, ValueError: the data set or the detections cannot be read, or the report cannot be written.
    """
    from detection.files import write_atomically
    from sppnet.report.tested_run import Scores, Tested

    tested = Tested.of(run, name)
    scores = Scores.of(tested, metric)
    path = out or run.folder / REPORT
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [render(tested, scores).encode()])
    return path, figures(tested, scores)


def render(tested: Tested, scores: Scores) -> str:
    """The page; every name in it is escaped."""
    import jinja2

    from sppnet.report import page_context
    from sppnet.report.tested_run import score

    loader = jinja2.FileSystemLoader(TEMPLATES)
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page.filters |= {"percent": percent, "score": score, "clock": clock, "size": size}
    return page.get_template(REPORT).render(page_context.context(tested, scores))


def figures(tested: Tested, scores: Scores) -> dict[str, Any]:
    """The main figures, as json can hold them; "thresholds" are the scores of the classes' greatest F1."""
    from detection.evaluation.results import summary
    from sppnet.report.tested_run import best_threshold, mean

    kinds = {kind.name.lower(): _or_none(mean(cost)) for kind, cost in scores.costs.items()}
    stages = {stage: summary(result) for stage, result in scores.stages.items()}
    best = {name: best_threshold(scores.final, k) for k, name in enumerate(tested.dataset.classes)}
    thresholds = {name: found[1] for name, found in best.items() if found}
    counts = {"photos": len(tested.dataset), "untested": len(tested.untested)}
    return counts | {"stages": stages, "mean_cost": kinds, "thresholds": thresholds}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def percent(value: float, digits: int = 1) -> str:
    """0.5 -> 50.0; a dash for nan."""
    return "–" if math.isnan(value) else f"{100 * value:.{digits}f}"


def clock(seconds: float) -> str:
    """75 -> 1 min 15 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def size(number: float) -> str:
    """Bytes, for people."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def run(options: common.Options) -> dict[str, Any]:
    """The report, of the folder that was named or the run of the data set."""
    if options.folder and options.run:
        raise ValueError("name the run once: RUN, or --run RUN")
    options.run = options.folder or options.run
    metric = _complete(options)
    path, result = write_report(common.Run.of(options), options.detections, metric, options.out)
    print(f"report: {path}")
    return result | {"report": str(path)}


def _complete(options: common.Options) -> Metric:
    """Flags that were not given, as the run's json files tell them; and the metric.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: nothing tells the data set.
    """
    from sppnet.report.tested_run import recorded

    if options.run and not options.run.is_dir():
        raise FileNotFoundError(f"{options.run}: no such run; train one with sppnet-train, or check the path")
    known = recorded(options.run) if options.run else {}
    if not any(getattr(options, flag) for flag in DATA_FLAGS):
        if options.run and not known:
            where = "give --data, --devkit or --voc2007 as in training"
            raise ValueError(f"{options.run}: no json file in it tells its data set; {where}")
        for flag in sorted({*DATA_FLAGS, "data_root"} & known.keys()):
            setattr(options, flag, known[flag])
            progress.log.info("as the run was made: --%s %s", flag.replace("_", "-"), known[flag])
    options.test_split = options.test_split or known.get("test_split")
    metric: Metric = options.metric or known.get("metric", "voc07")
    return metric


def flags(p: argparse.ArgumentParser) -> None:
    """Which run, and where the report goes."""
    p.add_argument("folder", type=Path, nargs="?", metavar="RUN", help="folder of a run (that of the data set)")
    common.dataset_flags(p)
    p.add_argument("--split", dest="test_split", metavar="NAME", help="list of images (that of the run, test, or val)")
    p.add_argument(
        "--detections",
        metavar="NAME",
        help="of another model than RUN/model: NAME of detections/SPLIT-NAME-windows.npz",
    )
    p.add_argument("--metric", choices=("voc07", "area"), help="11-point or area AP (that of the run, or voc07)")
    p.add_argument("--out", type=Path, metavar="FILE", help="the page to write (RUN/report.html)")
    p.set_defaults(train_split="trainval")


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    return common.main(run, common.parser((__doc__ or "").split("\n", 1)[0], flags), argv)


if __name__ == "__main__":
    sys.exit(main())
