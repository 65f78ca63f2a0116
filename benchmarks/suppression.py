"""Compare suppression that looks only at boxes near each other with suppression that compares all pairs.

    python benchmarks/suppression.py

The boxes are random, of all sizes in a photo of 1,000 x 750 pixels. Both ways must keep the same boxes.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import harness
import numpy as np
from numpy.typing import NDArray

from detection import boxes

SIZES = {2_000: 40, 20_000: 10, 50_000: 5}  # number of boxes -> repetitions
OVERLAPS = (0.3, 0.5, 0.7, 0.9)
WIDTH, HEIGHT = 1000, 750  # pixels of the photo

Item = tuple[NDArray[np.float32], NDArray[np.float64]]


def item(count: int, seed: int) -> Item:
    """Random boxes, float32 (N, 4), and scores, float64 (N,)."""
    rng = np.random.default_rng(seed)
    width = np.exp(rng.uniform(np.log(20), np.log(600), count))
    half = np.stack([width, width * np.exp(rng.normal(0, 0.5, count))], axis=1) / 2
    middle = rng.uniform(0, [WIDTH, HEIGHT], (count, 2))
    found = np.hstack([middle - half, middle + half]).clip(0, [WIDTH - 1, HEIGHT - 1] * 2)
    return found.astype(np.float32), rng.random(count)


def all_pairs(overlap: float, work: Item) -> NDArray[np.int64]:
    """Suppress as `boxes.nms` does with few boxes."""
    order = np.argsort(work[1], kind="stable")[::-1]
    sorted_boxes = boxes.as_boxes(work[0])[order]
    return order[boxes._suppress(sorted_boxes, overlap, len(order))]


def near(overlap: float, work: Item) -> NDArray[np.int64]:
    """Suppress with `boxes.nms`."""
    return boxes.nms(*work, overlap)


def main() -> None:
    """Run the benchmark and write its report."""
    options = harness.parser(__doc__, "suppression").parse_args()
    started = time.monotonic()
    result: dict[str, Any] = {}
    near(0.9, item(boxes.MANY + 1, 0))  # compiles
    for count, repetitions in SIZES.items():
        items = [item(count, seed) for seed in range(repetitions)]
        for overlap in OVERLAPS:
            rows = {"all pairs": partial(all_pairs, overlap), "near": partial(near, overlap)}
            assert np.array_equal(*(row(items[0]) for row in rows.values()))
            times = harness.seconds(harness.interleaved({n: harness.timed(r) for n, r in rows.items()}, items))
            print(f"\n{count} boxes, {overlap}")
            ratio = harness.ratio(times, "all pairs", "near")
            result[f"{count} boxes, {overlap}"] = {"table": harness.table(times), "ratio": ratio}
            harness.show_ratio("all pairs / near", ratio)
    harness.keep(options, result, started)


if __name__ == "__main__":
    main()
