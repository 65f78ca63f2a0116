"""Measure the time of commands' --help, and from starting a process to its first detections.

python benchmarks/startup.py --devkit datasets/VOCdevkit
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import harness

from detection import zoo

TOOLS = ("extract_features", "train_svms", "test_net")


def process(*arguments: str) -> float:
    """Return the seconds that a Python process takes."""
    started = time.perf_counter()
    harness.run_python(*arguments, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Run the benchmark and write its report."""
    flags = harness.parser(__doc__, "startup", "devkit")
    flags.set_defaults(count=5)
    options = flags.parse_args()
    started = time.monotonic()
    code = "import sys; from detection import SPPDetector\n"
    code += "print(SPPDetector.from_pretrained(sys.argv[1]).detect(sys.argv[2]))"

    def tool(name: str) -> harness.Row:
        return lambda photo: (process(f"tools/{name}.py", "--help"), 0.0)

    def first(model: str) -> harness.Row:
        return lambda photo: (process("-c", code, model, str(photo.resolve())), 0.0)

    rows = {f"{name} --help": tool(name) for name in TOOLS}
    rows |= {f"first detections, {name}": first(name) for name in zoo.names()}
    photos: list[Path] = harness.photos(options)
    times = harness.seconds(harness.interleaved(rows, photos))
    harness.keep(options, {"table": harness.table(times)}, started)


if __name__ == "__main__":
    main()
