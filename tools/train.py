"""Train a detector on labelled photos: all stages, one summary, and the command that uses it.

sppnet-train --data my_photos
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common

SUMMARY = "train.json"


def run(options: common.Options) -> dict[str, Any]:
    """The scores of the trained detector."""
    from detection.network import resolve_device
    from detection.networks.bfloat16 import has_bfloat16
    from sppnet.detector.training import train_and_test
    from tools.report import write_report

    if options.precision is None and has_bfloat16(resolve_device(options.device)):
        options.precision = "bf16"
    run = common.Run.of(options)
    result = train_and_test(run)
    seconds = result["stage_seconds"]
    common.write_json(run.folder / SUMMARY, result, options, sum(seconds.values()))
    report, figures = write_report(run, metric=options.metric)
    windows, regressed = (100 * result[stage]["mean_ap"] for stage in ("windows", "regressed"))
    print(f"\nmAP {windows:.1f} before box regression, {regressed:.1f} after it")
    print(f"{_clock(sum(seconds.values()))}: {', '.join(f'{name} {_clock(s)}' for name, s in seconds.items())}")
    print(f"report: {report}; pictures of detections over the ground truth: {run.folder / 'pictures'}")
    print(f"the detector: {run.model}")
    least = math.floor(10 * min(figures["thresholds"].values(), default=-0.5)) / 10
    print(f"use it: sppnet-detect PHOTOS --model {run.model} --score-threshold {least} --save found")
    return result


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def flags() -> argparse.ArgumentParser:
    """What the command takes; the defaults are those that served a small data set best."""
    groups = (common.data_flags, common.network_flags, common.pyramid_flags, common.compute_flags)
    more = (common.proposal_flags, common.search_flags, common.svm_flags, common.metric_flags)
    p = common.parser((__doc__ or "").split("\n", 1)[0], *groups, *more)
    p.add_argument("--mirror", action="store_true", help="fine-tune on mirror images too; with --features fc6 or fc7")
    p.add_argument("--schedule", help="of fine-tuning: short (the default), preset, or ITERATIONS:RATE,…")
    p.set_defaults(backbone="lite0", scales=[688])
    p.set_defaults(start="random", width=1024, validation=0.1, validate_every=500, block=100)
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    return common.main(run, flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
