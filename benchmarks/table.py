"""Print a Markdown table of all comparisons in benchmarks/results/*.json.

python benchmarks/table.py
"""

from __future__ import annotations

import json
from typing import Any

import harness
from harness import ratio_text


def result(name: str) -> dict[str, Any] | None:
    """Read the result of a benchmark; None if it has not been run."""
    path = harness.RESULTS / f"{name}.json"
    return json.loads(path.read_text())["result"] if path.is_file() else None


def rows() -> list[tuple[str, str, str]]:
    """Return (what, against, measured) of every benchmark that has been run."""
    out: list[tuple[str, str, str]] = []
    if found := result("proposals"):
        out.append(("selective search, one core", "OpenCV, the same hierarchies", ratio_text(found["ratios"]["ss"])))
    if found := result("pooling"):
        for peer in ("roi_pool, four times", "adaptive_max_pool2d, a loop"):
            ratio = found["ratios"][f"{peer} / sppnet"]
            out.append(("pyramid pooling, 50 bins, 256 channels", peer, ratio_text(ratio)))
    if found := result("rcnn"):
        names = {"1, no fc": "features, one scale", "5, no fc": "features, five scales"}
        names |= {f"{n}, fc 1024 compressed": f"{what}, with fc" for n, what in zip("15", names.values(), strict=True)}
        for key, what in names.items():
            for precision in ("fp32", "bf16"):
                ratio = found[precision]["ratios"][f"sppnet, {key}"]
                out.append((f"{what}, {precision}", "R-CNN, 2,000 crops", ratio_text(ratio)))
    if found := result("detectors"):
        for pair, ratio in found["ratios"].items():
            peer, name = pair.split(" / ")
            if "," not in name:
                out.append((f"photo to detections, {name.removeprefix('sppnet ')}", peer, ratio_text(ratio)))
    if found := result("cache"):
        out.append(("feature cache, five scales, bytes", "raw float32 maps", f"1/{found['raw_over_cache']:.0f}"))
        out.append(("reading a photo's maps back", "computing them", ratio_text(found["ratio"])))
    if found := result("svms"):
        out.append(("SVM training, 20 classes, time", "private copies, fresh LinearSVC", ratio_text(found["ratio"])))
        memory = found["peak_memory_bytes"]
        out.append(("the same, memory", "the same", f"1/{memory['private copies'] / memory['sppnet']:.1f}"))
    if found := result("evaluation"):
        out.append(("VOC scoring of 500,000 boxes", "box by box", ratio_text(found["ratio"])))
    if found := result("startup"):
        for name, r in found["table"].items():
            out.append((f"start: {name}", "", f"{r['median']:.2f} s"))
    return out


def main() -> None:
    """Print the table."""
    print("| what | against | measured |\n|---|---|---|")
    for row in rows():
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
