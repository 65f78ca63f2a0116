"""Time all sources of proposals and OpenCV contrib's selective search on the same photos, in one run.

    python benchmarks/proposals.py --devkit datasets/VOCdevkit --peer .venv-contrib/bin/python

OpenCV's contrib build cannot be installed beside `opencv-python`, so it runs in its own environment and is called
through a pipe (peers/opencv_search.py). All rows are timed on one photo before the next, in an order that changes from
photo to photo; decoding is not timed. `make bench-proposals` builds the environment and runs this file.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import harness
from harness import ROOT, Row, interleaved, quartiles

from detection.image import read
from proposals.hierarchical_search import MODES
from proposals.sources import ProposalSettings, propose

PEER = Path(__file__).with_name("peers") / "opencv_search.py"


def ours(source: str) -> Row:
    """Return the row of one of this project's sources."""
    settings = ProposalSettings(source)

    def run(path: Path) -> tuple[float, float]:
        image = read(path)
        start = time.perf_counter()
        boxes = propose(image, settings)
        return time.perf_counter() - start, len(boxes)

    return run


@contextmanager
def opencv(python: Path) -> Iterator[Callable[[Any], Row]]:
    """Start OpenCV's process; yields a function that returns the row of the given hierarchies."""
    worker = subprocess.Popen([python, PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdin is not None
    assert worker.stdout is not None

    def row(hierarchies: Any) -> Row:
        def run(path: Path) -> tuple[float, float]:
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


def workers(options: Any) -> list[dict[str, float]]:
    """Measure photos per second of `extract_proposals` with one and two processes in turn, start-up included."""
    tool = [sys.executable, str(ROOT / "tools" / "extract_proposals.py"), "--devkit", str(options.devkit), "--voc2007"]
    tool += ["--train-split", options.split, "--test-split", options.split, "--limit", str(options.worker_photos)]
    rates = []
    for _ in range(options.repeats):
        rate = {}
        for count in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                subprocess.run([*tool, "--run", folder, "-j", str(count)], check=True, capture_output=True)
                rate[str(count)] = options.worker_photos / (time.perf_counter() - start)
        rates.append(rate)
    return rates


def memory(path: Path) -> int:
    """Measure the peak resident memory in bytes of a new process that searches one photo with "ss"."""
    code = "import sys; from pathlib import Path; from proposals import batch\n"
    code += "batch.search_file(sys.argv[1], batch.ProposalSettings())\n"
    code += "status = Path('/proc/self/status').read_text()\n"  # getrusage would include the memory of this process
    code += "print(1024 * int(status.split('VmHWM:')[1].split()[0]))"
    done = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True, cwd=ROOT)
    return int(done.stdout)


def summary(values: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return the median and quartiles of the seconds, and the mean number of boxes, of a row."""
    seconds, boxes = zip(*values, strict=True)
    return quartiles(seconds) | {"boxes": statistics.mean(boxes)}


def show(table: dict[str, dict[str, float]], ratios: dict[str, dict[str, float]]) -> None:
    """Print the results as a Markdown table."""
    print("| | median s | quartiles | boxes |\n|---|---|---|---|")
    for name, r in table.items():
        print(f"| {name} | {r['median']:.3f} | {r['q1']:.3f} to {r['q3']:.3f} | {r['boxes']:.0f} |")
    for name, r in ratios.items():
        print(f"{name}: {r['median']:.1f} times as fast (quartiles {r['q1']:.1f} to {r['q3']:.1f})")


def main() -> None:
    """Run the benchmark and write the results."""
    flags = harness.parser(__doc__, "proposals", "devkit")
    flags.set_defaults(count=40)
    flags.add_argument("--peer", type=Path, help="Python interpreter with opencv-contrib-python")
    flags.add_argument("--worker-photos", type=int, default=300, help="photos for one and two processes (%(default)s)")
    flags.add_argument("--repeats", type=int, default=3, help="measurements of one and two processes (%(default)s)")
    options = flags.parse_args()
    harness.use_threads(1)
    started, photos = time.monotonic(), harness.photos(options)
    result = compare(photos, options)
    result["peak_memory_bytes_ss"] = memory(photos[0])
    print(f"peak memory of a process that searches with ss: {result['peak_memory_bytes_ss'] / 1e6:.0f} MB")
    if options.worker_photos:
        result["workers"] = workers(options)
        ratio = [r["2"] / r["1"] for r in result["workers"]]
        spread = f"{min(ratio):.2f} to {max(ratio):.2f}"
        print(f"two processes: {statistics.median(ratio):.2f} times the rate of one ({spread})")
    harness.keep(options, result, started)


def compare(photos: list[Path], options: Any) -> dict[str, Any]:
    """Time all rows. Ratios are OpenCV's time divided by ours for the same hierarchies, medians over photos."""
    rows = {name: ours(name) for name in ("ss-single", "ss", "ss-quality", "edgeboxes", "ss+edgeboxes")}
    if options.peer is None:
        measured, ratios = interleaved(rows, photos), {}
    else:
        with opencv(options.peer) as row:
            same = {"ss-single": "single", "ss": "fast", "ss-quality": "quality"}
            rows |= {f"OpenCV, hierarchies of {name}": row(asdict(MODES[mode])) for name, mode in same.items()}
            rows["OpenCV, its own fast at k 50 (12 hierarchies)"] = row("fast")
            measured = interleaved(rows, photos)
        ratios = {name: quartiles(_ratio(measured, name)) for name in same}
    table = {name: summary(values) for name, values in measured.items()}
    show(table, ratios)
    return {"table": table, "ratios": ratios, "photos": [p.name for p in photos]}


def _ratio(measured: dict[str, list[tuple[float, float]]], name: str) -> list[float]:
    pairs = zip(measured[f"OpenCV, hierarchies of {name}"], measured[name], strict=True)
    return [theirs / mine for (theirs, _), (mine, _) in pairs]


if __name__ == "__main__":
    main()
