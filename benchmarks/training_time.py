"""Compare what trainings reach after some minutes on the same cores: `sppnet train`, SSD end to end, dlib.

    pip install dlib-bin
    python benchmarks/training_time.py --task cells=bccd --task voc=tasks/voc/300 --work runs/time

`sppnet train` runs with some budgets, each from nothing. The SSD (peers/end_to_end.py) starts from the same ImageNet
weights with each of the rates; the one that is best after --trial minutes goes on to the end. dlib's detectors
(peers/dlib_detectors.py) are trained once. All of it takes some hours per task. Reports that exist in the work folder
are not made again, and interrupted trainings continue, so it can be done in parts.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import harness

PEERS = harness.ROOT / "benchmarks" / "peers"
PLOT = harness.ROOT / "docs" / "training_time.png"
NAMES = {"sppnet": "sppnet train", "ssd": "SSD, all layers trained", "dlib": "dlib, HOG"}

Point = dict[str, float]


def sppnet(data: Path, work: Path, budget: str) -> Point:
    """Train with a budget; minutes are those of the training without windows, features and test of the test photos."""
    report = work / f"sppnet-{budget}.json"
    if not report.exists():
        run = ["--run", str(work / f"run-{budget}"), "--budget", budget, "--json", str(report), "--quiet"]
        harness.run_python("-m", "sppnet", "train", str(data), *run)
    found: dict[str, Any] = json.loads(report.read_text())
    scores = found["result"].get("regressed") or found["result"]["windows"]
    minutes = sum(s for stage, s in found["result"]["stage_seconds"].items() if stage != "test") / 60
    return {"minutes": minutes, "mean_ap": scores["mean_ap"], "coco_ap": scores["coco"]["ap"]}


def ssd(data: Path, work: Path, options: argparse.Namespace) -> tuple[float, list[Point]]:
    """Train with each rate for a while and with the best one to the end. Returns that rate and its points."""
    early = [m for m in options.minutes if m <= options.trial]
    trials = {rate: _ssd(data, work, options, rate, early) for rate in options.rates}
    best = max(options.rates, key=lambda rate: trials[rate][-1]["mean_ap"] if trials[rate] else 0.0)
    return best, _ssd(data, work, options, best, options.minutes)


def _ssd(data: Path, work: Path, options: argparse.Namespace, rate: float, minutes: list[float]) -> list[Point]:
    report, state = work / f"ssd-{rate:g}.json", work / f"ssd-{rate:g}.pt"
    points = _points(report)
    if len(points) < len(minutes):
        flags = ["--data", str(data), "--bf16", "--rate", str(rate), "--minutes", *map(str, minutes)]
        pace = ["--per-minute", str(options.per_minute)] if options.per_minute else []
        harness.run_python(str(PEERS / "end_to_end.py"), *flags, *pace, "--json", str(report), "--state", str(state))
        points = _points(report)
    return points[: len(minutes)]


def _points(report: Path) -> list[Point]:
    points: list[Point] = json.loads(report.read_text())["result"]["points"] if report.exists() else []
    return points


def dlib(data: Path, work: Path) -> Point:
    """Train dlib's detectors."""
    report = work / "dlib.json"
    if not report.exists():
        harness.run_python(str(PEERS / "dlib_detectors.py"), "--data", str(data), "--json", str(report))
    found = json.loads(report.read_text())["result"]
    return {name: found[name] for name in ("minutes", "mean_ap", "coco_ap")}


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw mAP over minutes, one diagram per task."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * len(result), 3.6), layout="constrained")
    for place, (task, found) in enumerate(result.items()):
        axes = figure.add_subplot(1, len(result), place + 1)
        for row, marker in zip(NAMES, "o^s", strict=True):
            points = sorted(found[row], key=lambda p: p["minutes"])
            values = [100 * p["mean_ap"] for p in points]
            axes.plot([p["minutes"] for p in points], values, marker=marker, label=NAMES[row])
        axes.set_xscale("log")
        axes.set_xticks([1, 3, 10, 30, 60], ["1", "3", "10", "30", "60"])
        axes.minorticks_off()
        axes.set_xlim(0.4, 80)
        axes.set_ylim(0, 100)
        axes.grid(alpha=0.3)
        axes.set_title(f"{task}, {found['photos']} photos")
        axes.set_xlabel("minutes of training on two cores")
        axes.set_ylabel("mAP at IoU 0.5, test photos")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run what is missing, write the report and draw it."""
    flags = harness.parser(__doc__, "training_time")
    flags.add_argument(
        "--task",
        action="append",
        required=True,
        metavar="NAME=PATH",
        help="labelled photos with two splits; repeatable",
    )
    flags.add_argument("--work", type=Path, required=True, help="folder for runs, reports and states")
    flags.add_argument("--budgets", nargs="+", default=["1m", "3m", "10m"], help="of `sppnet train` (%(default)s)")
    flags.add_argument("--minutes", type=float, nargs="+", default=[1, 3, 10, 30, 60], help="of the SSD (%(default)s)")
    flags.add_argument("--rates", type=float, nargs="+", default=[0.01, 0.03, 0.1], help="of the SSD (%(default)s)")
    flags.add_argument("--trial", type=float, default=10, help="minutes after which a rate is chosen (%(default)s)")
    flags.add_argument("--per-minute", type=float, metavar="N", help="iterations per minute, see peers/end_to_end.py")
    flags.add_argument("--plot", type=Path, default=PLOT, help="file of the plot (%(default)s)")
    options = flags.parse_args()
    started, result = time.monotonic(), dict[str, Any]()
    for name, path in (task.split("=", 1) for task in options.task):
        data, work = Path(path), options.work / name
        work.mkdir(parents=True, exist_ok=True)
        mine = [sppnet(data, work, budget) for budget in options.budgets]
        rate, theirs = ssd(data, work, options)
        photos = json.loads((work / f"ssd-{rate:g}.json").read_text())["result"]["photos"]
        result[name] = {"photos": photos, "rate": rate, "sppnet": mine, "ssd": theirs, "dlib": [dlib(data, work)]}
        print(name, json.dumps(result[name], indent=1), flush=True)
    plot(result, options.plot)
    harness.keep(options, result, started)


if __name__ == "__main__":
    main()
