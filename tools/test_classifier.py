"""Errors of a trained classifier by view: one crop, ten, the whole photo, 96 windows of its maps.

sppnet-test-classifier --run runs/photos-classification --views crop full maps+full
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from sppnet.classifier import photos
from tools import common

VIEWS = ("crop", "ten", "full", "maps", "maps+full")


def run(options: common.Options) -> dict[str, Any]:
    """Errors and seconds a photo of each view."""
    from sppnet.classifier.testing import test

    return test(options)


def flags(p: argparse.ArgumentParser) -> None:
    """Which classifier, photos and views."""
    p.add_argument("--run", type=Path, required=True, help="run folder of train_classifier or classify")
    p.add_argument("--data", type=Path, metavar="FOLDER", help="a folder a class (those held out in training)")
    p.add_argument("--limit", type=common.positive, help="use only N photos of each class")
    p.add_argument("--views", choices=VIEWS, nargs="+", default=["crop", "full"], help="(crop full)")
    p.add_argument("--short-side", type=common.positive, default=256, help="of crop, ten and full (%(default)s)")


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    first = (__doc__ or "").split("\n", 1)[0]
    return common.main(run, common.parser(first, flags, photos.network_flags), argv)


if __name__ == "__main__":
    sys.exit(main())
