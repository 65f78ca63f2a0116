"""Shared code of the benchmarks: interleaved rows, medians with quartiles, one JSON report per benchmark."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT))

Row = Callable[[Any], tuple[float, float]]  # item -> seconds, and a second number such as a count of boxes
Seconds = Mapping[str, Sequence[float]]  # row name -> seconds per item


def timed(work: Callable[[Any], Any]) -> Row:
    """Turn a function into a row that times it and drops its result."""

    def row(item: Any) -> tuple[float, float]:
        start = time.perf_counter()
        work(item)
        return time.perf_counter() - start, 0.0

    return row


def interleaved(rows: Mapping[str, Row], items: Iterable[Any]) -> dict[str, list[tuple[float, float]]]:
    """Run every row on every item, in a new random order per item, after one warm-up call of each row."""
    items = list(items)
    for row in rows.values():
        row(items[0])
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    order = list(rows)
    for number, item in enumerate(items):
        random.Random(number).shuffle(order)
        for name in order:
            measured[name].append(rows[name](item))
    return measured


def seconds(measured: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, list[float]]:
    """Return the seconds of each row without the second numbers."""
    return {name: [s for s, _ in values] for name, values in measured.items()}


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Return median, lower and upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return {"median": middle, "q1": low, "q3": high}


def ratio(times: Seconds, slow: str, fast: str) -> dict[str, float]:
    """Return the quartiles of time(slow) / time(fast) over the items."""
    return quartiles([a / b for a, b in zip(times[slow], times[fast], strict=True)])


def table(times: Seconds) -> dict[str, dict[str, float]]:
    """Print the median and quartiles of each row as a Markdown table, and return them."""
    rows = {name: quartiles(values) for name, values in times.items()}
    print("| | median s | quartiles |\n|---|---|---|")
    for name, r in rows.items():
        print(f"| {name} | {r['median']:.4g} | {r['q1']:.4g} to {r['q3']:.4g} |")
    return rows


def ratio_text(r: Mapping[str, float]) -> str:
    """Format a ratio with its quartiles: "32.5 times (30.3 to 33.3)"."""
    return f"{r['median']:.3g} times ({r['q1']:.3g} to {r['q3']:.3g})"


def show_ratio(what: str, r: Mapping[str, float]) -> None:
    """Print a ratio with its quartiles on one line."""
    print(f"{what}: {ratio_text(r)}")


def parser(description: str | None, name: str, *names: str) -> argparse.ArgumentParser:
    """Build the flags of a benchmark.

    Args:
        description: docstring of the benchmark; its first line is the help text.
        name: name of the benchmark, for the default path of its JSON report.
        names: any of "devkit" (photos of VOC 2007: --devkit, --split, --count) and "threads".
    """
    flags = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    flags.add_argument("--json", type=Path, default=RESULTS / f"{name}.json", help="file of the report (%(default)s)")
    if "devkit" in names:
        flags.add_argument("--devkit", type=Path, required=True, help="a VOCdevkit with VOC2007")
        flags.add_argument("--split", default="test", help="split of the photos (%(default)s)")
        flags.add_argument("--count", type=int, default=10, help="number of photos, evenly spaced (%(default)s)")
    if "threads" in names:
        flags.add_argument("--threads", type=int, default=2, help="threads of every row (%(default)s)")
    return flags


def photos(options: Any) -> list[Path]:
    """Return the files of --count photos, evenly spaced over the split."""
    from data import voc

    records = voc.load(options.devkit, "2007", options.split)
    return [r.path for r in records[:: max(1, len(records) // options.count)]][: options.count]


def use_threads(count: int) -> None:
    """Set the number of threads of OpenCV, torch and numba."""
    import cv2
    import numba
    import torch

    cv2.setNumThreads(count)
    torch.set_num_threads(count)
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


def machine_rates() -> dict[str, float]:
    """Measure this machine: matrix products in 10^9 operations per second, copies in GB read and written per second."""
    import torch

    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.rand(2048, 2048).to(dtype) for _ in "ab")
        rates[f"{name}_gflops"] = 2 * 2048**3 / 1e9 / min(timed(lambda _, a=a, b=b: a @ b)(None)[0] for _ in range(9))
    source, target = torch.rand(1 << 26), torch.zeros(1 << 26)  # 256 MB each
    rates["copy_gb_a_second"] = 2 * source.nbytes / 1e9 / min(timed(target.copy_)(source)[0] for _ in range(9))
    return rates


def run_python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python on a file of this project or on `-c CODE`, in the root folder; a failure raises CalledProcessError."""
    return subprocess.run([sys.executable, *arguments], check=True, cwd=ROOT, text=True, **options)


def run_for_json(*arguments: str) -> dict[str, Any]:
    """Run Python as `run_python` does, and decode the last line that it prints as JSON."""
    done = run_python(*arguments, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def training_set(options: Any, **settings: Any) -> Any:
    """Open the training photos of a run folder with their windows and features, as SVM training does.

    Args:
        options: --devkit, --run and --train-split of the benchmark.
        settings: further fields of `SVMSettings`.

    Returns:
        a `sppnet.detector.training_images.TrainingSet`.
    """
    from sppnet.detector.training_images import open_training_set
    from sppnet.run import Run
    from sppnet.settings import SVMSettings

    data = {"voc2007": True, "devkit": options.devkit, "run": options.run, "train_split": options.train_split}
    chosen = SVMSettings(**data, **settings)
    return open_training_set(Run.open(chosen), chosen)


def keep(options: Any, result: dict[str, Any], started: float) -> None:
    """Write the JSON report: result, settings without paths, versions, hardware and seconds since `started`."""
    from sppnet.json_report import write_report

    settings = {k: v for k, v in vars(options).items() if not isinstance(v, Path)}
    write_report(options.json, result, settings, time.monotonic() - started)
    print(f"written: {options.json}")
