"""Train a box regressor a class, beside the SVMs of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common


def run(options: common.Options) -> dict[str, Any]:
    """Box regressors of the training split."""
    from sppnet.detector.svms import train_bbox_regressors

    run = common.Run.of(options)
    model = train_bbox_regressors(run)
    print(f"{sum(r is not None for r in model.regressors)} box regressors in {run.model}")
    return {"model": str(run.model), "configuration": model.summary()}


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    return common.main(run, common.parser(__doc__, common.data_flags, common.model_flags, common.proposal_flags), argv)


if __name__ == "__main__":
    sys.exit(main())
