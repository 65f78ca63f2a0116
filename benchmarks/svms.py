"""Compare SVM training with the authors' method: separate negatives for each class, a new LinearSVC each time.

    python benchmarks/svms.py --devkit datasets/VOCdevkit --run runs/bench

The run needs features (`sppnet stage extract-features`). The sides take turns, each in a separate process, on the same
features and with the same mining rule. Their SVMs are tested by tools/test_net.py. LinearSVC is also trained on the
windows that sppnet's training ends with, to compare both objectives on the same problem.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np

OURS, PRIVATE = "sppnet", "private copies"


def train(side: str, options: Any) -> dict[str, Any]:
    """Train the SVMs of one side in this process; return seconds, peak memory and, if asked for, objectives."""
    from peers.private_svms import PrivateMiner

    from detection import model
    from detection.training.images import mean_norm
    from detection.training.mining import Miner, MiningOptions
    from sppnet import environment

    data = harness.training_set(options, limit=options.limit)
    dataset, images, config = data.dataset, data.images, data.config
    folder = options.run / f"bench-{side.split()[0]}"
    mining = MiningOptions(folder / "training", 6 * 2**30, "shared", max_negatives=None, seed=0)
    kind = Miner if side == OURS else PrivateMiner
    started = time.monotonic()
    miner = kind(images, config.svm, mining, config.svm.feature_norm / mean_norm(images), images.pooled_length)
    if side == OURS:
        for index in range(len(images)):
            miner.add_positives(index)
    else:
        miner.add_all_positives()
    for index in range(len(images)):
        last = index == len(images) - 1
        miner.visit(index)
        miner.retrain(miner.due(last), mining.tolerance if last else mining.mining_tolerance)
    found = {"seconds": time.monotonic() - started, "peak_memory_bytes": environment.peak_memory()}
    name, weights = images.cache.manifest["network"], images.cache.manifest["weights"]
    notes = {"training": side, "data": dataset.name, "images": len(images)}
    svms = miner.detectors()
    model.Model(dataset.classes, config, name, weights, svms, notes=notes, proposals=data.proposals).save(folder)
    if side == OURS and options.objectives:
        found["objectives"] = objectives(miner)
    return found


def objectives(miner: Any) -> list[float]:
    """Return sppnet's final objective over LinearSVC's on the same windows, one ratio per class."""
    from detection.training.liblinear import fit_liblinear
    from detection.training.solver import margins, objective_of

    state, problem = miner.windows.state, miner.problem
    classes = np.flatnonzero(miner.trainable)
    scores = margins(miner.windows.rows, state, classes, problem)
    mine = {k: objective_of(scores[:, i], state, k, problem).total for i, k in enumerate(classes.tolist())}
    theirs = fit_liblinear(miner.windows.rows, state, classes, problem, memory=1 << 40, tolerance=1e-3)
    return [mine[k] / theirs[k].total for k in mine]


def data_flags(options: Any) -> list[str]:
    """Return the command-line flags that name the data."""
    return ["--devkit", str(options.devkit), "--run", str(options.run), "--limit", str(options.limit)]


def child(side: str, options: Any, last: bool) -> dict[str, Any]:
    """Run `train` in a separate process, so that no side profits from what the other has loaded."""
    more = ["--objectives"] if last else []
    return harness.run_for_json(
        __file__, "--side", side, *data_flags(options), "--train-split", options.train_split, *more
    )


def tested(side: str, options: Any) -> float:
    """Test the SVMs of a side and return their mAP before box regression."""
    report = options.run / f"bench-{side.split()[0]}.json"
    argv = ["--voc2007", *data_flags(options), "--test-split", options.test_split, "--json", str(report)]
    argv += ["--model", str(options.run / f"bench-{side.split()[0]}")]
    harness.run_python("tools/test_net.py", *argv, stdout=subprocess.DEVNULL)
    return json.loads(report.read_text())["result"]["windows"]["mean_ap"]


def main() -> None:
    """Run the benchmark and write its report."""
    flags = harness.parser(__doc__, "svms", "threads")
    flags.add_argument("--devkit", type=Path, required=True, help="a VOCdevkit with VOC2007")
    flags.add_argument("--run", type=Path, required=True, help="a run folder with features of both splits")
    flags.add_argument("--train-split", default="trainval", help="split of the training photos (%(default)s)")
    flags.add_argument("--test-split", default="test", help="split of the test photos (%(default)s)")
    flags.add_argument("--limit", type=int, default=284, help="photos per split; the peer's memory grows with them")
    flags.add_argument("--repeats", type=int, default=3, help="trainings of each side (%(default)s)")
    flags.add_argument("--side", choices=(OURS, PRIVATE), help=argparse.SUPPRESS)
    flags.add_argument("--objectives", action="store_true", help=argparse.SUPPRESS)
    options = flags.parse_args()
    options.devkit, options.run = options.devkit.resolve(), options.run.resolve()
    harness.use_threads(options.threads)
    if options.side:
        print(json.dumps(train(options.side, options)))
        return
    started = time.monotonic()
    runs: dict[str, list[dict[str, Any]]] = {OURS: [], PRIVATE: []}
    for repeat in range(options.repeats):
        for side in (OURS, PRIVATE) if repeat % 2 == 0 else (PRIVATE, OURS):
            runs[side].append(child(side, options, last=side == OURS and repeat == options.repeats - 1))
            print(
                f"{side}: {runs[side][-1]['seconds']:.1f} s, {runs[side][-1]['peak_memory_bytes'] / 1e9:.2f} GB",
                flush=True,
            )
    times = {side: [r["seconds"] for r in results] for side, results in runs.items()}
    memory = {side: statistics.median(r["peak_memory_bytes"] for r in results) for side, results in runs.items()}
    objective = next(r["objectives"] for r in runs[OURS] if "objectives" in r)
    result = {
        "table": harness.table(times),
        "ratio": harness.ratio(times, PRIVATE, OURS),
        "peak_memory_bytes": memory,
        "objective_over_linear_svc": {"least": min(objective), "greatest": max(objective)},
        "mean_ap": {side: tested(side, options) for side in runs},
    }
    harness.show_ratio("time", result["ratio"])
    print(
        f"memory: {memory[PRIVATE] / memory[OURS]:.2f} times; objective: {min(objective):.5f} to {max(objective):.5f} "
        f"of LinearSVC's; mAP: {result['mean_ap']}"
    )
    harness.keep(options, result, started)


if __name__ == "__main__":
    main()
