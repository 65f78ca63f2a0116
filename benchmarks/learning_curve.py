"""Measure what `sppnet train` reaches over the number of photos, with minutes and memory.

    python benchmarks/small_tasks.py --data datasets/VOCdevkit/VOC2007 --classes car dog person --folder tasks/voc
    python benchmarks/learning_curve.py --tasks tasks/voc --work runs/curve

Every task is one folder of photos whose name is their number. Further flags of `sppnet train` go after `--`.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import harness


def learn(task: Path, work: Path, flags: list[str]) -> dict[str, float]:
    """Train from nothing; return scores, minutes and memory."""
    shutil.rmtree(work / task.name, ignore_errors=True)
    report = work / f"{task.name}.json"
    command = ["train", str(task), "--run", str(work / task.name), "--json", str(report), "--quiet", *flags]
    harness.run_python("-m", "sppnet", *command)
    found: dict[str, Any] = json.loads(report.read_text())
    seconds = found["result"]["stage_seconds"]
    scores = found["result"].get("regressed") or found["result"]["windows"]
    minutes = sum(s for stage, s in seconds.items() if stage != "test") / 60
    return {
        "photos": int(task.name),
        "mean_ap": scores["mean_ap"],
        "coco_ap": scores["coco"]["ap"],
        "minutes": minutes,
        "memory_gb": found["peak_memory_bytes"] / 1e9,
        "stage_seconds": seconds,
    }


def main() -> None:
    """Train on every task and write the report."""
    flags = harness.parser(__doc__, "learning_curve")
    flags.add_argument("--tasks", type=Path, required=True, help="folder of tasks, each named after its photos")
    flags.add_argument("--work", type=Path, required=True, help="folder for the run folders")
    flags.add_argument("train", nargs="*", metavar="FLAG", help="further flags of `sppnet train`, after --")
    options = flags.parse_args()
    started, points = time.monotonic(), []
    options.work.mkdir(parents=True, exist_ok=True)
    tasks = sorted((p for p in options.tasks.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    print("| photos | mAP | COCO AP | minutes | memory |\n|---|---|---|---|---|")
    for task in tasks:
        p = learn(task, options.work, options.train)
        points.append(p)
        shown = f"{100 * p['mean_ap']:.1f} | {100 * p['coco_ap']:.1f} | {p['minutes']:.1f} | {p['memory_gb']:.1f} GB"
        print(f"| {p['photos']} | {shown} |", flush=True)
    harness.keep(options, {"points": points}, started)


if __name__ == "__main__":
    main()
