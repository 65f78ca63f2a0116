"""Pack a trained detector for others: half precision, and a card that says where it comes from and how good it is.

The folder is what SPPDetector.from_pretrained takes. test_net --model on it, within the run, measures it as packed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common

if TYPE_CHECKING:
    from detection.model import Model

TIMED_PHOTOS = 10


def run(options: common.Options) -> dict[str, Any]:
    """The packed model and its card."""
    from detection import model
    from detection.detector import SPPDetector
    from detection.files import write_atomically
    from sppnet import environment

    run = common.Run.of(options)
    if options.to.resolve() == run.model.resolve():
        raise ValueError(f"--to {options.to}: is the run's own model; name another folder")
    report = _report(options.report) if options.report else None
    trained = model.load(run.model)
    if options.energy is not None:
        trained = _compressed(run, trained, options.energy)
    trained.save(options.to, half=True)
    detector = SPPDetector.from_pretrained(options.to, device=options.device, weights=options.weights or "pretrained")
    card = {
        "trained_on": {"data": trained.notes["data"], "images": trained.notes["images"]},
        "network": trained.network,
        "weights_sha256": trained.weights_hash,
        "classes": list(trained.classes),
        "features": trained.fc.layer if trained.fc else "pool5",
        "scales": list(trained.config.pooling.scales),
        "precision": trained.config.precision,
        "proposals": trained.proposals,
        "commands": options.command or [],
        "commit": _commit(),
        "scores": report,
        "seconds_per_image": _seconds(detector, [r.path for r in run.dataset(options.test_split)]),
        "processor": environment.processor(),
        "bytes": sum(file.stat().st_size for file in options.to.iterdir()),
        "licence": options.licence,
    }
    write_atomically(options.to / "card.json", [(json.dumps(card, indent=1) + "\n").encode()])
    print(f"{card['bytes'] / 1e6:.1f} MB, {card['seconds_per_image']:.2f} s an image: {options.to}")
    return card


def _compressed(run: common.Run, trained: Model, energy: float) -> Model:
    """The model with smaller fully connected layers, measured on windows of its training images."""
    from detection.training.images import feature_sample
    from sppnet.detector.svms import images_of

    if trained.fc is None:
        raise ValueError(f"--energy {energy}: {run.model} learned from pool5, it has no layers to compress")
    head = trained.fc.head.compressed(feature_sample(images_of(run, trained)), energy)
    fc = type(trained.fc)(head, trained.fc.layer, trained.fc.precision)
    return replace(trained, fc=fc, notes=trained.notes | {"energy": energy})


def _report(path: Path) -> dict[str, Any]:
    """Scores of each stage out of what test_net --json wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        result = json.loads(path.read_text("utf-8"))["result"]
        return {
            stage: {"voc07_map": r["mean_ap"], "coco_ap": r["coco"]["ap"], "ap": r["ap"]}
            for stage, r in result.items()
            if stage in ("windows", "regressed")
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: not a report of test_net --json ({error})") from error


def _seconds(detector: Any, photos: list[Path]) -> float:
    """Median time from file to detections, the first photo aside."""
    times = []
    for path in photos[: TIMED_PHOTOS + 1]:
        started = time.perf_counter()
        detector.detect(path)
        times.append(time.perf_counter() - started)
    return round(statistics.median(times[1:] or times), 3)


def _commit() -> str | None:
    """Of the clone that this program runs in, if it is one."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    flags = common.parser(__doc__, common.data_flags, common.model_flags, common.proposal_flags, common.compute_flags)
    flags.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder of the packed model")
    flags.add_argument(
        "--energy", type=float, metavar="SHARE", help="of the variance of fc6 and fc7 kept, for smaller layers"
    )
    flags.add_argument("--report", type=Path, metavar="JSON", help="what test_net --json wrote, for the card")
    flags.add_argument("--command", action="append", metavar="TEXT", help="that trained it, for the card; repeatable")
    flags.add_argument("--licence", metavar="TEXT", help="notes on the data and the convolutions, for the card")
    return common.main(run, flags, argv)


if __name__ == "__main__":
    sys.exit(main())
