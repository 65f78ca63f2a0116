"""What every benchmark needs: rows that take turns, medians with their spread, one json each."""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.common import write_json

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
Row = Callable[[Any], tuple[float, float]]  # item -> seconds, another number to average
Seconds = Mapping[str, Sequence[float]]


def clocked(work: Callable[[Any], Any]) -> Row:
    """A row out of a function: its result is dropped."""

    def row(item: Any) -> tuple[float, float]:
        start = time.perf_counter()
        work(item)
        return time.perf_counter() - start, 0.0

    return row


def interleaved(rows: Mapping[str, Row], items: Iterable[Any]) -> dict[str, list[tuple[float, float]]]:
    """Every row on every item, in turn and each time in another order; one call of each before, to warm up."""
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
    """The times alone."""
    return {name: [s for s, _ in values] for name, values in measured.items()}


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Median and spread."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return {"median": middle, "q1": low, "q3": high}


def ratio(times: Seconds, slow: str, fast: str) -> dict[str, float]:
    """How many times as fast one row is as another, item by item."""
    return quartiles([a / b for a, b in zip(times[slow], times[fast], strict=True)])


def table(times: Seconds) -> dict[str, dict[str, float]]:
    """Median and quartiles of every row, printed and returned."""
    rows = {name: quartiles(values) for name, values in times.items()}
    print("| | median s | quartiles |\n|---|---|---|")
    for name, r in rows.items():
        print(f"| {name} | {r['median']:.4g} | {r['q1']:.4g} to {r['q3']:.4g} |")
    return rows


def show_ratio(what: str, r: Mapping[str, float]) -> None:
    """One line for people."""
    print(f"{what}: {r['median']:.3g} times ({r['q1']:.3g} to {r['q3']:.3g})")


def parser(description: str | None, name: str, *names: str) -> argparse.ArgumentParser:
    """Flags of a benchmark: where its json goes and, of `names`, "devkit", "count", "threads"."""
    flags = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    flags.add_argument("--json", type=Path, default=RESULTS / f"{name}.json", help="(%(default)s)")
    if "devkit" in names:
        flags.add_argument("--devkit", type=Path, required=True, help="a VOCdevkit with VOC2007")
        flags.add_argument("--split", default="test", help="its list of photos (%(default)s)")
        flags.add_argument("--count", type=int, default=10, help="photos, spread evenly over the list (%(default)s)")
    if "threads" in names:
        flags.add_argument("--threads", type=int, default=2, help="of every row (%(default)s)")
    return flags


def photos(options: argparse.Namespace) -> list[Path]:
    """Files of the photos asked for, spread evenly over the split."""
    from data import voc

    records = voc.load(options.devkit, "2007", options.split)
    return [r.path for r in records[:: max(1, len(records) // options.count)]][: options.count]


def use_threads(count: int) -> None:
    """Give every library that many threads."""
    import cv2
    import numba
    import torch

    cv2.setNumThreads(count)
    torch.set_num_threads(count)
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


def machine_rates() -> dict[str, float]:
    """What this machine reaches now: matrix products in 10^9 operations a second, copies in GB (read and written)."""
    import torch

    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = (torch.rand(2048, 2048).to(dtype) for _ in "ab")
        rates[f"{name}_gflops"] = 2 * 2048**3 / 1e9 / min(clocked(lambda _, a=a, b=b: a @ b)(None)[0] for _ in range(9))
    source, target = torch.rand(1 << 26), torch.zeros(1 << 26)  # 256 MB each
    rates["copy_gb_a_second"] = 2 * source.nbytes / 1e9 / min(clocked(target.copy_)(source)[0] for _ in range(9))
    return rates


def keep(options: argparse.Namespace, result: dict[str, Any], started: float) -> None:
    """Write the json: results, settings without this machine's paths, versions and hardware."""
    settings = {k: v for k, v in vars(options).items() if not isinstance(v, Path)}
    write_json(options.json, result, argparse.Namespace(**settings), time.monotonic() - started)
    print(f"written: {options.json}")
