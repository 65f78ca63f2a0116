"""Compare SVMs mined in rounds with SVMs mined one photo after the other: objective and mAP.

    python benchmarks/mining_rounds.py --devkit datasets/VOCdevkit --run runs/voc2007

The run needs windows and features of the training photos (`sppnet stage extract-features --backbone lite0 --scales
688`). Each seed draws photos to train on, and others to test on, from the split; windows per photo and negatives per
photo and class are limited so that a seed takes a few minutes. The objective of each class is taken over the negatives
that either training holds at its end.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness
import numpy as np
from numpy.typing import NDArray

WINDOWS, NEGATIVES = 400, 100  # per photo; per photo and class
USUAL, ROUNDS = "one after the other", "rounds"
Floats = NDArray[np.float64]


def mined(images: Any, config: Any, seed: int, rounds: bool) -> Any:
    """Train SVMs; return a miner whose windows have no features any more."""
    from detection.engines.this_process import ThisProcess
    from detection.training.mining import Miner, MiningOptions, mine
    from detection.training.mining_rounds import mine_in_rounds

    with tempfile.TemporaryDirectory() as folder:
        options = MiningOptions(Path(folder), 6 * 2**30, "shared", NEGATIVES, seed, rounds=rounds)
        miner = Miner.resume(images, config, options)
        mine_in_rounds([miner], ThisProcess()) if rounds else mine([miner])
        miner.close()
    return miner


def negatives(miner: Any, index: int, count: int) -> NDArray[np.bool_]:
    """Return which of an image's windows are negatives of which class: bool (count, K)."""
    windows, found = miner.windows, np.zeros((count, miner.images.n_classes), np.bool_)
    slots = np.flatnonzero(windows.image == index)
    np.logical_or.at(found, windows.box[slots], windows.state.labels[slots] < 0)
    return found


def objectives(miners: list[Any]) -> list[Floats]:
    """Return the objective of each class over the negatives of all miners, for each miner: float64 (K,)."""
    images, config = miners[0].images, miners[0].config
    totals = [
        (m.windows.state.weights.astype(float) ** 2).sum(axis=1) / 2 + m.windows.state.bias_weights**2 / 2
        for m in miners
    ]
    for index in range(len(images)):
        labelled = images.labelled_boxes(index)
        union = np.any([negatives(m, index, len(labelled.boxes)) for m in miners], axis=0)
        pooled = images.pool(index, labelled.boxes)
        for total, miner in zip(totals, miners, strict=True):
            margins = miner.detectors().scores(pooled)
            total += config.cost * np.where(union, np.maximum(0, 1 + margins), 0).sum(axis=0)
            hinge = np.maximum(0, 1 - margins[np.arange(len(labelled.labels)), labelled.labels])
            np.add.at(total, labelled.labels, config.cost * config.positive_weight * hinge)
    return totals


def mean_ap(miner: Any, images: Any, data: Any) -> float:
    """Return the mAP of SVMs on some images, before box regression."""
    from detection.ensemble import Evidence, detect_windows
    from detection.evaluation import voc
    from detection.features import load_pyramid
    from detection.model import Model

    model = Model(data.dataset.classes, data.config, images.cache.manifest["network"], "", miner.detectors())
    found = {
        r.id: detect_windows(Evidence(load_pyramid(images.cache, r.id), images.proposals[r.id], model))[0]
        for r in images.records
    }
    return float(voc.evaluate(found, images.records, classes=data.dataset.classes).mean_ap)


def compared(data: Any, options: Any, seed: int) -> dict[str, Any]:
    """Train both ways on the photos that a seed draws."""
    from sppnet.detector.choice_rules import cost

    order = np.random.default_rng(seed).permutation(len(data.images))
    chosen, others = sorted(order[: options.photos]), sorted(order[-options.tested :])
    few = {r.id: data.images.proposals[r.id][:WINDOWS] for r in data.images.records}
    images = data.images.subset(chosen, few)
    chosen_cost, _ = cost(replace(data.dataset, records=tuple(images.records)))
    config = replace(data.config.svm, cost=float(chosen_cost))
    miners = {USUAL: mined(images, config, seed, False), ROUNDS: mined(images, config, seed, True)}
    usual, rounds = objectives(list(miners.values()))
    ratio, test = (rounds / usual)[miners[USUAL].trainable], data.images.subset(others, few)
    return {
        "negatives": {name: int((m.windows.state.labels < 0).sum()) for name, m in miners.items()},
        "objective": {
            "sum": float(rounds.sum() / usual.sum()),
            "least": float(ratio.min()),
            "greatest": float(ratio.max()),
        },
        "mean_ap": {name: mean_ap(m, test, data) for name, m in miners.items()},
    }


def main() -> None:
    """Run the benchmark and write its report."""
    flags = harness.parser(__doc__, "mining_rounds", "threads")
    flags.add_argument("--devkit", type=Path, required=True, help="a VOCdevkit with VOC2007")
    flags.add_argument("--run", type=Path, required=True, help="a run folder with features of the split")
    flags.add_argument("--train-split", default="trainval", help="split of all photos (%(default)s)")
    flags.add_argument("--limit", type=int, help="draw from the first N photos of the split only")
    flags.add_argument("--photos", type=int, default=300, help="photos to train on (%(default)s)")
    flags.add_argument("--tested", type=int, default=200, help="photos to test on (%(default)s)")
    flags.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="random seeds (%(default)s)")
    options: argparse.Namespace = flags.parse_args()
    harness.use_threads(options.threads)
    started, data = time.monotonic(), harness.training_set(options, limit=options.limit)
    result = {}
    for seed in options.seeds:
        result[str(seed)] = compared(data, options, seed)
        print(f"seed {seed}: {result[str(seed)]}", flush=True)
    harness.keep(options, result, started)


if __name__ == "__main__":
    main()
