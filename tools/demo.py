"""Train and score a detector from nothing: MiniVOC, proposals, features, SVMs, box regression, test, pictures."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common


def run(options: common.Options) -> dict[str, Any]:
    """The whole pipeline on the embedded data set, at one scale."""
    from data import minivoc
    from sppnet.detector.training import train_and_test

    started = time.monotonic()
    minivoc.generate(options.devkit, options.train, options.test, options.seed)
    run = common.Run.of(options)
    scores = train_and_test(run)
    seconds = time.monotonic() - started
    print(f"mAP {_percent(scores['windows'])} before box regression, {_percent(scores['regressed'])} after it")
    print(f"pictures of detections over the ground truth: {run.folder / 'pictures'}")
    print(f"{seconds:.0f} s")
    return scores


def _percent(score: dict[str, Any]) -> str:
    return f"{100 * score['mean_ap']:.1f}"


def flags(p: argparse.ArgumentParser) -> None:
    """How much data."""
    p.add_argument("--train", type=int, default=120, help="training images (%(default)s)")
    p.add_argument("--test", type=int, default=60, help="test images (%(default)s)")


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    groups = (
        flags,
        common.data_flags,
        common.network_flags,
        common.compute_flags,
        common.proposal_flags,
        common.search_flags,
    )
    parser = common.parser(__doc__, *groups, common.svm_flags, common.metric_flags)
    parser.set_defaults(devkit=Path("datasets/minivoc"), run=Path("runs/minivoc"), scales=[688])
    return common.main(run, parser, argv)


if __name__ == "__main__":
    sys.exit(main())
