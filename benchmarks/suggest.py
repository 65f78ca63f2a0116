"""Measure what choosing photos gains: mAP over the number of labelled photos, chosen or in random order.

    python benchmarks/suggest.py --data datasets/VOCdevkit --run runs/bench --sizes 50 100 200 400 --seeds 3

The run needs features of both splits (`sppnet stage extract-features`). In each seed, all ways of choosing begin with
the same random photos. Then SVMs on pool5 are trained on the labelled photos, scored on the test photos, and used to
choose the next ones from the others, until the largest size is reached. As in `sppnet suggest`, detections tell how
unsure the SVMs are; their margins are squashed, not calibrated. Everything runs in this process.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import harness
import numpy as np

Rows = list[int]


@dataclass(frozen=True)
class Round:
    """What a way of choosing knows.

    Attributes:
        vectors: float32 (N, C), what each photo of the pool looks like.
        labelled: rows of the labelled photos.
        rest: rows of the others, in the random order of the seed.
        count: how many of them to choose.
        uncertainties: rows -> (n,) uncertainties of the SVMs trained so far.
    """

    vectors: Any
    labelled: Rows
    rest: Rows
    count: int
    uncertainties: Callable[[Rows], Any]


def in_random_order(r: Round) -> Rows:
    """The next photos of the random order."""
    return r.rest[: r.count]


def suggested(r: Round) -> Rows:
    """Those that `sppnet suggest` chooses."""
    from sppnet.suggestion.selection import weights_of

    return _k_centre(r, weights_of(r.uncertainties(r.rest)))


def uncertain(r: Round) -> Rows:
    """The most uncertain ones, however alike."""
    best = np.argsort(-r.uncertainties(r.rest), kind="stable")
    return [r.rest[i] for i in best[: r.count].tolist()]


def unlike(r: Round) -> Rows:
    """The most different ones, without a detector."""
    return _k_centre(r, np.ones(len(r.rest)))


def _k_centre(r: Round, weights: Any) -> Rows:
    from sppnet.suggestion.selection import k_centre

    rows, _ = k_centre(r.vectors[r.rest], r.count, weights, r.vectors[r.labelled])
    return [r.rest[i] for i in rows.tolist()]


WAYS = {"random": in_random_order, "suggest": suggested, "uncertain": uncertain, "unlike": unlike}


class Bench:
    """The photos of a run, and the detectors trained on some of them."""

    def __init__(self, options: Any) -> None:
        from sppnet.run import Run, configuration
        from sppnet.settings import SVMSettings

        settings = SVMSettings(data=options.data, run=options.run, limit=options.limit)
        self.run, self.options = Run.open(settings), options
        self.network, self.config = configuration(settings, self.run)
        self.classes = self.run.train.classes
        self.pool, self.made = self._images(self.run.train_split, settings)
        self.test, _ = self._images(self.run.test_split, settings)

    def _images(self, split: str, settings: Any) -> tuple[Any, dict[str, Any]]:
        from detection.training.images import TrainingImages
        from sppnet.detector.features import open_features, usable_records
        from sppnet.detector.proposals import load_proposals

        dataset = self.run.dataset(split, self.classes)
        proposals, made = load_proposals(self.run, dataset, split, settings)
        cache = open_features(self.run, split, self.network, self.config)
        records = usable_records(self.run, dataset, proposals, cache)
        return TrainingImages(records, proposals, cache, self.config.pooling, len(self.classes)), made

    def vectors(self) -> Any:
        """What each photo of the pool looks like, from its map at the first scale."""
        from detection.features import load_pyramid
        from sppnet.suggestion.looks import vector_of

        return np.stack([vector_of(load_pyramid(self.pool.cache, r.id).maps[0]) for r in self.pool.records])

    def train(self, rows: Rows) -> Any:
        """A detector without box regression, trained on some photos of the pool, as `sppnet train` does."""
        from detection import model, svm
        from sppnet.detector import choice_rules, choices

        cost, _ = choice_rules.cost(self.run.train[: len(rows)])
        with tempfile.TemporaryDirectory() as folder:
            options = svm.MiningOptions(Path(folder), 6 * 2**30, "shared", choices.NEGATIVES, seed=0)
            svms = svm.train(self.pool.subset(rows), replace(self.config.svm, cost=cost), options)
        weights = self.pool.cache.manifest["weights"]
        return model.Model(self.classes, self.config, self.network, weights, svms, proposals=self.made)

    def detect(self, trained: Any, images: Any, row: int) -> Any:
        """Detections in one photo."""
        from detection.ensemble import Evidence, detect_windows
        from detection.features import load_pyramid

        image_id = images.records[row].id
        pyramid = load_pyramid(images.cache, image_id)
        return detect_windows(Evidence(pyramid, images.proposals[image_id], trained))[0]

    def score(self, trained: Any) -> float:
        """Mean average precision on the test photos."""
        from detection.evaluation import voc

        records = self.test.records
        found = {record.id: self.detect(trained, self.test, row) for row, record in enumerate(records)}
        return float(voc.evaluate(found, records, 0.5, self.options.metric, self.classes).mean_ap)

    def uncertainties(self, trained: Any, rows: Rows) -> Any:
        """How unsure a detector is about photos of the pool."""
        from sppnet.suggestion.uncertainty import uncertainty_of

        return np.array([uncertainty_of(self.detect(trained, self.pool, row)) for row in rows])


def curves(bench: Bench, vectors: Any, seed: int, sizes: Sequence[int]) -> dict[str, list[float]]:
    """Way -> mAP at each size, for one random order of the pool."""
    order = np.random.default_rng(seed).permutation(len(bench.pool)).tolist()
    first = bench.train(order[: sizes[0]])
    start, found = bench.score(first), {}
    for way in bench.options.ways:
        labelled, trained, scores = order[: sizes[0]], first, [start]
        for size in sizes[1:]:
            taken = set(labelled)
            rest = [row for row in order if row not in taken]
            unsure = functools.partial(bench.uncertainties, trained)
            labelled = labelled + WAYS[way](Round(vectors, labelled, rest, size - len(labelled), unsure))
            trained = bench.train(labelled)
            scores.append(bench.score(trained))
        found[way] = scores
        print(f"seed {seed}, {way}: {', '.join(f'{100 * s:.1f}' for s in scores)}", flush=True)
    return found


def table(result: dict[str, list[list[float]]], sizes: Sequence[int]) -> None:
    """Print the means over the seeds, and the mean gain over random order with its range."""
    print(f"\n| labelled photos | {' | '.join(result)} |\n|---|{'---|' * len(result)}")
    for i, size in enumerate(sizes):
        cells = []
        for scores in result.values():
            points = [100 * s[i] for s in scores]
            gains = [p - 100 * s[i] for p, s in zip(points, result.get("random", scores), strict=True)]
            cells.append(
                f"{statistics.mean(points):.1f} ({statistics.mean(gains):+.1f}; {min(gains):+.1f} to {max(gains):+.1f})"
            )
        print(f"| {size} | {' | '.join(cells)} |")


def main() -> None:
    """Run the benchmark and write its report."""
    options = _flags().parse_args()
    harness.use_threads(options.threads)
    started, bench = time.monotonic(), Bench(options)
    sizes = [size for size in sorted(options.sizes) if size <= len(bench.pool)]
    if not sizes:
        raise SystemExit(f"--sizes: expected at most {len(bench.pool)}, the photos of {bench.run.train_split}")
    vectors = bench.vectors()
    per_seed = [curves(bench, vectors, seed, sizes) for seed in range(options.seeds)]
    result = {way: [found[way] for found in per_seed] for way in options.ways}
    table(result, sizes)
    photos = {"pool": len(bench.pool), "test": len(bench.test)}
    harness.keep(options, {"sizes": sizes, "photos": photos, "mean_ap": result}, started)


def _flags() -> argparse.ArgumentParser:
    flags = harness.parser(__doc__, "suggest", "threads")
    flags.add_argument("--data", type=Path, required=True, help="labelled photos in any format, or a VOCdevkit")
    flags.add_argument("--run", type=Path, required=True, help="run folder with features of both splits")
    sizes: dict[str, Any] = {"type": int, "nargs": "+", "default": [50, 100, 200, 400], "metavar": "N"}
    flags.add_argument("--sizes", **sizes, help="numbers of labelled photos (%(default)s)")
    flags.add_argument("--seeds", type=int, default=3, metavar="N", help="number of random orders (%(default)s)")
    flags.add_argument("--limit", type=int, metavar="N", help="use only the first N photos of each split")
    flags.add_argument("--ways", nargs="+", choices=WAYS, default=["random", "suggest"], help="(%(default)s)")
    flags.add_argument("--metric", choices=["voc07", "area"], default="area", help="(%(default)s)")
    return flags


if __name__ == "__main__":
    main()
