"""Train a linear SVM a class with hard-negative mining, then a box regressor a class.

The second of three commands: extract_features, train_svms, test_net.
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
    """SVMs, and unless told otherwise box regressors, of the training split."""
    from sppnet.detector.svms import train_bbox_regressors, train_svms

    run = common.Run.of(options)
    model = train_svms(run)
    if options.bbox_regression:
        model = train_bbox_regressors(run)
    print(f"{len(model.classes)} SVMs, {sum(r is not None for r in model.regressors)} box regressors in {run.model}")
    return {"model": str(run.model), "configuration": model.summary()}


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    flags = common.parser(
        __doc__,
        common.data_flags,
        common.model_flags,
        common.network_flags,
        common.pyramid_flags,
        common.proposal_flags,
        common.svm_flags,
    )
    flags.add_argument(
        "--bbox-regression", action=argparse.BooleanOptionalAction, default=True, help="train box regressors too"
    )
    return common.main(run, flags, argv)


if __name__ == "__main__":
    sys.exit(main())
