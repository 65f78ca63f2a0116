"""Detect the objects of the test split and print mean average precision.

The third of three commands: extract_features, train_svms, test_net.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from . import common


def run(options: common.Options) -> dict[str, Any]:
    """Detections and scores of the test split, before and after box regression."""
    from detection import model

    from .testing import detect, report, with_softmax

    run = common.Run.of(options)
    trained, softmax = model.load(run.model), None
    if options.scores == "softmax":
        trained, softmax = with_softmax(run, trained)
    dataset, stages = detect(run, trained, options.test_split, softmax)
    if not trained.regressors:
        del stages["regressed"]
    scored = report(run, dataset, stages, options.metric, "softmax-" if softmax else "")
    return scored | {"configuration": trained.summary()}


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    flags = common.parser(__doc__, common.data_flags, common.proposal_flags, common.metric_flags)
    flags.add_argument(
        "--scores", choices=("svm", "softmax"), default="svm", help="softmax: the fine-tuned classifier's"
    )
    return common.main(run, flags, argv)


if __name__ == "__main__":
    sys.exit(main())
