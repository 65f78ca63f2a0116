"""Fine-tune fc6, fc7 and a softmax layer on pooled windows; the convolutions stay as they are.

Between extract_features and train_svms; train_svms --features fc7 then learns from the layers.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common


def run(options: common.Options) -> dict[str, Any]:
    """Layers fine-tuned on the training split."""
    from sppnet.detector.finetuning import finetune

    run = common.Run.of(options)
    result = finetune(run)
    best = result["best"]
    print(f"validation AP {best['validation_ap']:.4f} at iteration {best['iteration']}: {run.head}")
    return result


def flags(p: argparse.ArgumentParser) -> None:
    """How the layers are trained."""
    p.add_argument(
        "--start", default="random", metavar="random|imagenet|FILE", help="weights of fc6, fc7 (%(default)s)"
    )
    p.add_argument("--width", type=int, default=1024, help="of fc6 and fc7 from a random start (%(default)s)")
    p.add_argument("--schedule", help="short (the default), preset, or ITERATIONS:RATE,ITERATIONS:RATE")
    p.add_argument("--mirror", action="store_true", help="learn from mirror images too; extract_features --mirror")
    p.add_argument("--validation", type=float, default=0.1, help="part of the images held out (%(default)s)")
    p.add_argument("--validate-every", type=int, default=500, metavar="N", help="iterations (%(default)s)")
    p.add_argument("--block", type=int, default=100, help="batches pooled at a time (%(default)s)")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    p.add_argument(
        "--difficult", action=argparse.BooleanOptionalAction, default=True, help="difficult objects as positives"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    groups = (common.data_flags, common.network_flags, common.pyramid_flags, common.proposal_flags, flags)
    return common.main(run, common.parser(__doc__, *groups), argv)


if __name__ == "__main__":
    sys.exit(main())
