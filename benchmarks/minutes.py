"""Draw what detectors reach over the minutes of their training.

    python benchmarks/minutes.py --line "sppnet train=runs/bccd.json" --line "SSD, trained end to end=ssd.json"

A line is a report of `sppnet train --json`, which is one point, or one of benchmarks/peers/. Reports with the same name
are points of one line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import harness

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def points_of(path: Path) -> list[tuple[float, float]]:
    """Minutes of training and mean average precision in percent."""
    result = json.loads(path.read_text())["result"]
    if "points" in result:
        return [(p["minutes"], 100 * p["mean_ap"]) for p in result["points"]]
    scores = result.get("regressed") or result["windows"]
    seconds = sum(s for stage, s in result["stage_seconds"].items() if stage != "test")
    return [(seconds / 60, 100 * scores["mean_ap"])]


def plot(lines: dict[str, list[tuple[float, float]]], picture: Path) -> None:
    """Draw all lines, minutes on a logarithmic axis."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for colour, (name, points) in zip(COLOURS, lines.items(), strict=False):
        minutes, scores = zip(*sorted(points), strict=True)
        axes.plot(minutes, scores, "o-", color=colour, label=name)
    axes.set(xscale="log", xlabel="minutes of training, two cores", ylabel="mAP", ylim=(0, 100))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xticks([1, 3, 10, 30])
    axes.grid(alpha=0.3)
    axes.legend()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    print(f"picture: {picture}")


def main() -> None:
    """Draw the picture."""
    flags = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    flags.add_argument("--line", action="append", required=True, metavar="NAME=FILE", help="give it several times")
    flags.add_argument("--picture", type=Path, default=harness.ROOT / "docs" / "minutes.png", help="(%(default)s)")
    options = flags.parse_args()
    lines: dict[str, list[tuple[float, float]]] = {}
    for line in options.line:
        name, _, file = line.rpartition("=")
        lines.setdefault(name, []).extend(points_of(Path(file)))
    plot(lines, options.picture)


if __name__ == "__main__":
    main()
