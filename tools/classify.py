"""Train linear SVMs on what a network says about photos, test them, and keep them as a classifier.

sppnet-classify --data photos
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
from tools.extract_representations import LAYERS


def run(options: common.Options) -> dict[str, Any]:
    """Scores by the protocol of the data set; the classifier is in the run folder."""
    from sppnet.classifier.svms import train_and_test

    return train_and_test(options, photos.folder_of(options), photos.of_benchmark(options))


def flags(p: argparse.ArgumentParser) -> None:
    """What the SVMs learn from, and how they are tested."""
    p.add_argument("--layer", choices=LAYERS, default="spp", help="of the network (%(default)s)")
    p.add_argument("--cost", type=common.amount, default=3.0, help="of a violated margin, C of the SVMs (%(default)s)")
    p.add_argument("--divisions", type=common.positive, metavar="N", help="random ones of undivided photos (10)")
    p.add_argument("--train", type=common.positive, metavar="N", help="photos of each class (half of them, or 30)")
    p.add_argument("--test", type=common.positive, metavar="N", help="at most, of each class (all others, or 50)")
    p.add_argument("--metric", choices=("voc07", "area"), help="average precision, with --voc2007 (voc07)")


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    from sppnet.classifier.representations import flags as view_flags

    groups = (photos.photo_flags, photos.benchmark_flags, view_flags, flags, photos.network_flags)
    return common.main(run, common.parser((__doc__ or "").split("\n", 1)[0], *groups), argv)


if __name__ == "__main__":
    sys.exit(main())
