"""Train a network with spatial pyramid pooling on a folder of labelled photos.

sppnet-train-classifier --data photos --pyramid 50 --sizes 224 180
torchrun --nproc-per-node 2 tools/train_classifier.py --data photos
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

PYRAMIDS = ("none", "21", "30", "50")


def run(options: common.Options) -> dict[str, Any]:
    """Curve and settings of a trained classifier."""
    from sppnet.classifier.network_training import train

    return train(options, photos.folder_of(options))


def sizes(text: str) -> tuple[int, ...]:
    """One size, "224", or the first and last of a range, "180-224"."""
    found = tuple(common.positive(part) for part in text.split("-", 1))
    if list(found) != sorted(found):
        raise argparse.ArgumentTypeError(f"{text}: expected the smaller size first")
    return found


def flags(p: argparse.ArgumentParser) -> None:
    """Which network, and how it is trained."""
    p.add_argument("--backbone", default="zf5-small", metavar="NAME", help="convolutions (%(default)s)")
    p.add_argument(
        "--start",
        choices=("random", "frozen", "tuned"),
        help="the convolutions: from random numbers; pretrained and left so; pretrained and trained on "
        "(random for zf5 and zf5-small, else frozen)",
    )
    p.add_argument("--pyramid", choices=PYRAMIDS, default="50", help="its bins; none: no SPP (%(default)s)")
    p.add_argument(
        "--sizes", type=sizes, nargs="+", default=[(224,)], metavar="N|N-N",
        help="pixels a side of training images: several in turn, the first in the last of --epochs; a range is drawn "
        "from (224)",
    )  # fmt: skip
    p.add_argument("--width", type=common.positive, default=512, help="of fc6 and fc7 (%(default)s)")
    p.add_argument("--norm", action=argparse.BooleanOptionalAction, default=True, help="batch-normalise fc6 and fc7")
    p.add_argument("--dropout", type=float, default=0.5, help="of fc6 and fc7 (%(default)s)")
    p.add_argument("--epochs", type=common.positive, default=70, help="(%(default)s)")
    p.add_argument("--batch", type=common.positive, default=32, help="photos of all processes (%(default)s)")
    p.add_argument("--rate", type=common.amount, default=0.01, help="learning rate (%(default)s)")
    p.add_argument(
        "--patience", type=common.positive, metavar="N",
        help="divide the rate by 10 after N epochs without a lower loss, twice, and end (after 60 and 85 %% of epochs)",
    )  # fmt: skip
    p.add_argument("--colour", type=float, default=0.1, help="strength of colour shifts, 0 for none (%(default)s)")
    p.add_argument("--mirror", action=argparse.BooleanOptionalAction, default=True, help="mirror half of the views")
    p.add_argument("--train-share", type=float, default=0.9, help="of each class, where there is no test folder")
    p.add_argument("-j", "--workers", type=int, default=0, help="processes that read photos (%(default)s)")
    p.set_defaults(precision=None)  # the faster one


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    first = (__doc__ or "").split("\n", 1)[0]
    return common.main(run, common.parser(first, photos.photo_flags, photos.network_flags, flags), argv)


if __name__ == "__main__":
    sys.exit(main())
