"""Detect the objects of the test split and print mean average precision.

The third of three commands: extract_features, train_svms, test_net.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common


def run(options: common.Options) -> dict[str, Any]:
    """Detections and scores of the test split, before and after box regression."""
    from sppnet.detector.testing import SHOWN_SCORES, Source, detect, draw_pictures, report

    run = common.Run.of(options)
    folders = options.model or [run.model]
    sources = [Source.of(run, folder, options.scores, options.scales) for folder in folders]
    own = f"{folders[0].name}-" if folders[0].name != "model" else ""
    kind = (f"{options.combine}-" if len(folders) > 1 else own) + "softmax-" * (options.scores == "softmax")
    kind += f"scales-{'-'.join(map(str, options.scales))}-" if options.scales else ""
    dataset, stages = detect(run, sources, options.test_split, kind, options.combine)
    if not any(source.model.regressors for source in sources):
        del stages["regressed"]
    scored = report(run, dataset, stages, options.metric, kind)
    if options.pictures:
        folder = run.folder / "pictures" / (kind.rstrip("-") or "model")
        draw_pictures(folder, dataset, list(stages.values())[-1], options.pictures, SHOWN_SCORES[options.scores])
        print(f"pictures of detections over the ground truth: {folder}")
    return scored | {"configuration": [source.model.summary() for source in sources]}


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    flags = common.parser(__doc__, common.data_flags, common.proposal_flags, common.metric_flags)
    flags.add_argument(
        "--model",
        type=Path,
        action="append",
        metavar="DIR",
        help="model folder, in the run folder that has its features (the model of --run); several score together",
    )
    flags.add_argument(
        "--scores", choices=("svm", "softmax"), default="svm", help="softmax: the fine-tuned classifier's"
    )
    flags.add_argument(
        "--combine",
        choices=("union", "mean"),
        default="union",
        help="of several models: suppression over the union of their windows, or mean scores of the same windows",
    )
    common.scale_flags(flags)
    flags.add_argument("--pictures", type=int, default=0, metavar="N", help="draw the detections of N images")
    return common.main(run, flags, argv)


if __name__ == "__main__":
    sys.exit(main())
