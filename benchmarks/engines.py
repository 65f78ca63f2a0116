"""Measure what engines cost per photo, and how much faster two workers of one core are than one.

    python benchmarks/engines.py --devkit datasets/VOCdevkit

Rows take turns. Time runs from the first result to the last, without the start of the workers; every worker has one
thread. `overhead` is the time per item of work that does nothing.
"""

from __future__ import annotations

import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness

from detection import features, network
from detection.cache import FeatureCache
from detection.engines.engine import Engine
from detection.engines.processes import Processes
from detection.engines.ray_cluster import RayCluster
from sppnet.detector.convolving import Convolver
from sppnet.detector.photo_detection import PhotoDetector
from sppnet.settings.commands import DetectSettings

ITEMS = 3_000  # of work that does nothing
MANY = 50_000  # of the run that shows the memory
ENGINES: dict[str, Callable[[int], Engine]] = {
    "processes": Processes,
    "Ray": lambda workers: RayCluster(workers=workers),
}


def nothing() -> Callable[[Any], Any]:
    """Work that does nothing."""
    return lambda item: item


def seconds_per_item(engine: Engine, make: Any, items: Iterable[Any]) -> float:
    """Time per item between the first result and the last."""
    count, first = 0, 0.0
    for _, outcome in engine.map(make, items):
        outcome.result()
        count += 1
        first = first or time.perf_counter()
    return (time.perf_counter() - first) / (count - 1)


def windows() -> Callable[[Path], int]:
    """Selective search of a photo file."""
    from proposals.batch import search_file
    from proposals.sources import ProposalSettings

    return lambda path: len(search_file(path, ProposalSettings()))


def measured(stages: dict[str, Callable[[], tuple[Any, list[Any]]]], rounds: int) -> dict[str, Any]:
    """Seconds per photo of every stage, engine and number of workers, and how much faster two workers are."""
    rows = [(s, e, n) for s in stages for e in ENGINES for n in (1, 2)]
    times: dict[tuple[str, str, int], list[float]] = {row: [] for row in rows}
    for number in range(rounds):
        random.Random(number).shuffle(rows)
        for stage, engine, workers in rows:
            make, items = stages[stage]()
            times[stage, engine, workers].append(seconds_per_item(ENGINES[engine](workers), make, items))
    found: dict[str, Any] = {}
    for stage in stages:
        for engine in ENGINES:
            one, two = times[stage, engine, 1], times[stage, engine, 2]
            faster = harness.quartiles([a / b for a, b in zip(one, two, strict=True)])
            found[f"{stage}, {engine}"] = {
                "one": statistics.median(one), "two": statistics.median(two), "faster": faster
            }  # fmt: skip
            harness.show_ratio(f"{stage}, {engine}: two workers over one", faster)
    return found


def memory(engine: Engine) -> dict[str, float]:
    """Peak memory of this process, in MB, after 1,000 items and after `MANY`."""
    found = {}
    for count in (1_000, MANY):
        seconds_per_item(engine, nothing, ((number, "photo.jpg") for number in range(count)))
        found[str(count)] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return found


def main() -> None:
    """Run the benchmark and write its report."""
    flags = harness.parser(__doc__, "engines", "devkit")
    flags.add_argument("--rounds", type=int, default=5, help="how often each row is measured (%(default)s)")
    options = flags.parse_args()
    started, photos = time.monotonic(), harness.photos(options)
    from data import voc

    paths = set(photos)
    records = [r for r in voc.load(options.devkit, "2007", options.split) if r.path in paths]
    body = network.build("lite0")
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(folder, features.cache_manifest(body, (688,)))
        convolver = Convolver(body, "pretrained", "cpu", cache, skip_bad=False)
        numbers = iter(range(1_000_000))

        def fresh() -> list[Any]:  # under new ids, or the cache would have them
            return [replace(r, id=f"{r.id}-{next(numbers)}") for r in records]

        detector = PhotoDetector(DetectSettings(sources=("photos",), model="lite0-voc2007", inference="fast"))
        stages: dict[str, Callable[[], tuple[Any, list[Any]]]] = {
            "windows": lambda: (windows, photos),
            "features": lambda: (convolver, fresh()),
            "detection": lambda: (detector, list(enumerate(photos))),
        }
        result = measured(stages, options.rounds)
    overhead = {
        name: harness.quartiles([1e3 * seconds_per_item(make(2), nothing, range(ITEMS)) for _ in range(options.rounds)])
        for name, make in ENGINES.items()
    }
    for name, of in overhead.items():
        print(f"{name}: {of['median']:.2f} ms per item ({of['q1']:.2f} to {of['q3']:.2f})")
    used = memory(RayCluster(workers=2))
    print(f"memory of the driver: {used}")
    harness.keep(options, {"stages": result, "overhead_ms": overhead, "memory_mb": used}, started)


if __name__ == "__main__":
    main()
