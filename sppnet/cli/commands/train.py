"""Train a detector on labelled photos: all stages, a report, and the command that uses the detector.

sppnet train my_photos
"""

from __future__ import annotations

from typing import Any

from sppnet.cli.resolving import data_named_once
from sppnet.settings.train import TrainSettings

SETTINGS = TrainSettings


def resolve(settings: TrainSettings) -> TrainSettings:
    """Choose the precision, the run folder and the splits."""
    from sppnet.detector.training import resolve_precision
    from sppnet.run import Run

    settings = data_named_once(settings)
    return resolve_precision(Run.open(settings).resolved(settings))


def run(settings: TrainSettings) -> dict[str, Any]:
    """Return the scores of the trained detector."""
    from sppnet.detector.training import train_and_test
    from sppnet.json_report import write_report
    from sppnet.output_files import check_file
    from sppnet.report.provenance import TRAIN
    from sppnet.report.render import REPORT, write_html
    from sppnet.run import Run
    from sppnet.text import clock

    run = Run.open(settings)
    for name in (TRAIN, REPORT):
        check_file(run.folder / name)
    training = train_and_test(run, settings)
    for line in training.scores.lines():
        print(line)
    seconds = training.stage_seconds
    write_report(run.folder / TRAIN, training.summary(), training.settings.to_dict(), sum(seconds.values()))
    report, _ = write_html(run, training.detections, settings.metric)
    print(f"\n{training.scores.headline()}")
    print(f"{clock(sum(seconds.values()))}: {', '.join(f'{name} {clock(s)}' for name, s in seconds.items())}")
    print(f"report: {report}; pictures of detections over the ground truth: {run.folder / 'pictures'}")
    print(f"detector: {training.model}")
    print(f"use it: sppnet detect PHOTOS --model {training.model} --save found")
    return training.summary()
