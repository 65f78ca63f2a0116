"""Write an HTML report of a tested run: scores, curves, kinds of error, example pictures.

sppnet report runs/my_photos

Data set, split and metric are those that the run was tested with, unless they are given.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sppnet.settings.commands import ReportSettings
from sppnet.settings.shared import MetricSettings

SETTINGS = ReportSettings


def resolve(settings: ReportSettings) -> ReportSettings:
    """Choose the run folder, and take data set, split and metric from the run's files if they are not given.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: nothing names the data set.
    """
    from data import datasets
    from sppnet.errors import one_line
    from sppnet.report.run_files import DATA
    from sppnet.run import DataSource, Run

    s = settings
    if s.folder and s.run:
        raise ValueError("name the run once: RUN, or --run RUN")
    if not (s.folder or s.run or any(getattr(s, name) for name in DATA)):
        raise ValueError("which run? give RUN, the folder of a tested run")
    folder = s.folder or s.run or Path("runs") / DataSource.of(s).name
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such run; train one with `sppnet train`, or check the path")
    s, source = _completed(replace(s, folder=None, run=folder))
    try:
        run = Run.open(s, s.split)
        if source is not None:
            datasets.splits(run.source.root, run.source.year, run.source.images)
    except (OSError, ValueError) as error:
        if source is None:
            raise
        where = "name the data set with --data, --devkit or --voc2007"
        raise ValueError(f"{source}: {one_line(error)}; {where}") from error
    return replace(run.resolved(s), split=run.test_split, metric=s.metric or MetricSettings.metric)


def _completed(settings: ReportSettings) -> tuple[ReportSettings, Path | None]:
    """The settings, with values that are not given as the run's files record them; and the file that names the data."""
    from sppnet.progress import log
    from sppnet.report.run_files import DATA, recorded

    s = settings
    assert s.run is not None
    known, source = recorded(s.run)
    taken: dict[str, Any] = {n: known[n] for n in ("split", "metric") if n in known and getattr(s, n) is None}
    if not any(getattr(s, name) for name in DATA):
        if not known:
            where = "give --data, --devkit or --voc2007 as in training"
            raise ValueError(f"{s.run}: no json or YAML file in it names its data set; {where}")
        taken |= {name: known[name] for name in (*DATA, "data_root", "images") if name in known}
    for name, value in taken.items():
        log.info("from %s: %s %s", source, name.replace("_", "-"), value)
    return replace(s, **taken), source if set(DATA) & taken.keys() else None


def run(settings: ReportSettings) -> dict[str, Any]:
    """Return the main figures and the file."""
    from sppnet.report.render import write_html
    from sppnet.run import Run

    s = settings
    path, figures = write_html(Run.open(s, s.split), s.detections, s.metric or MetricSettings.metric, s.out)
    print(f"report: {path}")
    return figures | {"report": str(path)}
