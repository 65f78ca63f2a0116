"""Time every source of proposals beside OpenCV contrib's selective search, on the same photos, in one run.

    python benchmarks/proposals.py --photos datasets/VOCdevkit/VOC2007/JPEGImages --peer .venv-contrib/bin/python

OpenCV's contrib build owns the folder that `opencv-python` owns, so it runs in an environment of its own and
answers over a pipe (peers/opencv_search.py). Rows take turns photo by photo, in another order each time; a photo
is decoded before the clock starts. `make bench-proposals` builds that environment and runs this.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch

from data.records import ImageRecord
from detection.image import read
from proposals import batch
from proposals.selective_search import MODES
from proposals.sources import ProposalSettings, propose
from tools.common import parser, write_json

Row = Callable[[Path], tuple[float, int]]  # photo -> seconds, boxes
PEER = Path(__file__).with_name("peers") / "opencv_search.py"


def ours(source: str) -> Row:
    """A source of this project's."""
    settings = ProposalSettings(source)

    def run(path: Path) -> tuple[float, int]:
        image = read(path)
        start = time.perf_counter()
        boxes = propose(image, settings)
        return time.perf_counter() - start, len(boxes)

    return run


@contextmanager
def opencv(python: Path) -> Iterator[Callable[[Any], Row]]:
    """OpenCV's search of the given hierarchies."""
    worker = subprocess.Popen([python, PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdin is not None
    assert worker.stdout is not None

    def row(hierarchies: Any) -> Row:
        def run(path: Path) -> tuple[float, int]:
            worker.stdin.write(json.dumps({"row": hierarchies, "path": str(path)}) + "\n")
            worker.stdin.flush()
            answer = json.loads(worker.stdout.readline())
            return answer["seconds"], answer["boxes"]

        return run

    try:
        yield row
    finally:
        worker.stdin.close()
        worker.wait()


def interleaved(rows: dict[str, Row], photos: list[Path]) -> dict[str, list[tuple[float, int]]]:
    """Every row on every photo, in turn; one call of each before, to compile and to load."""
    measured: dict[str, list[tuple[float, int]]] = {name: [] for name in rows}
    for run in rows.values():
        run(photos[0])
    order = list(rows)
    for number, photo in enumerate(photos):
        random.Random(number).shuffle(order)
        for name in order:
            measured[name].append(rows[name](photo))
    return measured


def workers(photos: list[Path], repeats: int) -> list[dict[str, float]]:
    """Photos a second of a whole set with one and two processes, start-up included, in turn."""
    nothing = np.empty((0, 4), np.float32)
    records = [
        ImageRecord(p.stem, p, read(p).shape[:2], nothing, np.empty(0, np.int64), np.empty(0, bool)) for p in photos
    ]
    rates = []
    for _ in range(repeats):
        rate = {}
        for count in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                batch.compute(records, Path(folder) / "boxes.npz", workers=count, progress=False)
                rate[str(count)] = len(records) / (time.perf_counter() - start)
        rates.append(rate)
    return rates


def summary(values: list[tuple[float, int]]) -> dict[str, float]:
    """Median, quartiles and boxes of a row."""
    seconds, boxes = zip(*values, strict=True)
    low, _, high = statistics.quantiles(seconds, n=4)
    return {"median": statistics.median(seconds), "q1": low, "q3": high, "boxes": statistics.mean(boxes)}


def show(table: dict[str, dict[str, float]], ratios: dict[str, dict[str, float]]) -> None:
    """Print a Markdown table."""
    print("| | median s | quartiles | boxes |\n|---|---|---|---|")
    for name, r in table.items():
        print(f"| {name} | {r['median']:.3f} | {r['q1']:.3f} to {r['q3']:.3f} | {r['boxes']:.0f} |")
    for name, r in ratios.items():
        print(f"{name}: {r['median']:.1f} times as fast (quartiles {r['q1']:.1f} to {r['q3']:.1f})")


def main() -> None:
    """Run and report."""
    flags = parser(__doc__.splitlines()[0])  # type: ignore[union-attr]
    flags.add_argument("--photos", type=Path, required=True, help="folder of .jpg files")
    flags.add_argument("--count", type=int, default=40, help="photos, spread evenly over the folder (%(default)s)")
    flags.add_argument("--peer", type=Path, help="python of an environment with opencv-contrib-python")
    flags.add_argument("--worker-photos", type=int, default=200, help="for one process against two (%(default)s)")
    flags.add_argument("--repeats", type=int, default=3, help="of one process against two (%(default)s)")
    options = flags.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    files = sorted(options.photos.glob("*.jpg"))
    photos = files[:: max(1, len(files) // options.count)][: options.count]
    started = time.monotonic()
    result = compare(photos, options)
    if options.worker_photos:
        rates = workers(files[: options.worker_photos], options.repeats)
        result["workers"] = rates
        ratio = [r["2"] / r["1"] for r in rates]
        spread = f"{min(ratio):.2f} to {max(ratio):.2f}"
        print(f"two processes: {statistics.median(ratio):.2f} times the rate of one ({spread})")
    if options.json:
        write_json(options.json, result, options, time.monotonic() - started)


def compare(photos: list[Path], options: argparse.Namespace) -> dict[str, Any]:
    """All rows; ratios are medians over photos of OpenCV's time over ours for the same hierarchies."""
    rows = {name: ours(name) for name in ("ss-single", "ss", "ss-quality", "edgeboxes", "ss+edgeboxes")}
    if options.peer is None:
        measured, ratios = interleaved(rows, photos), {}
    else:
        with opencv(options.peer) as row:
            same = {"ss-single": "single", "ss": "fast", "ss-quality": "quality"}
            rows |= {f"OpenCV, hierarchies of {name}": row(asdict(MODES[mode])) for name, mode in same.items()}
            rows["OpenCV, its own fast at k 50 (12 hierarchies)"] = row("fast")
            measured = interleaved(rows, photos)
        ratios = {name: summary(_ratio(measured, name)) for name in same}
    table = {name: summary(values) for name, values in measured.items()}
    show(table, ratios)
    return {"table": table, "ratios": ratios, "photos": [p.name for p in photos]}


def _ratio(measured: dict[str, list[tuple[float, int]]], name: str) -> list[tuple[float, int]]:
    pairs = zip(measured[f"OpenCV, hierarchies of {name}"], measured[name], strict=True)
    return [(theirs / mine, 0) for (theirs, _), (mine, _) in pairs]


if __name__ == "__main__":
    main()
