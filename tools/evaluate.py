"""Score comp4 files, of this program or any other, against the annotations of a split."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common


def run(options: common.Options) -> dict[str, Any]:
    """Average precision of the files in --comp4."""
    from detection.evaluation import results, voc

    dataset = common.Run.of(options).dataset(options.test_split, options.classes)
    detections = results.read_comp4(options.comp4, dataset.classes, options.test_split)
    scored = voc.evaluate(detections, dataset, options.iou, options.metric)
    print(results.format_table(dataset.classes, {"AP": scored}))
    print(f"mAP {100 * scored.mean_ap:.2f} ({options.metric}, IoU {options.iou})")
    return results.summary(scored, curves=True)


def flags(p: argparse.ArgumentParser) -> None:
    """Which files, against what."""
    p.add_argument("--comp4", type=Path, required=True, metavar="DIR", help="folder of comp4_det_<split>_<class>.txt")
    common.source_flags(p)
    p.add_argument("--split", dest="test_split", metavar="NAME", help="list of images (test, or val)")
    p.add_argument("--classes", nargs="+", help="names, where some occur in no annotation of the split")
    p.add_argument("--iou", type=float, default=0.5, help="overlap that counts as found (%(default)s)")
    p.set_defaults(run=None, train_split=None, limit=None, skip_bad=False)


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    return common.main(run, common.parser(__doc__, flags, common.metric_flags), argv)


if __name__ == "__main__":
    sys.exit(main())
