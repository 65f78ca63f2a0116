"""Measure the memory of `sppnet detect` over folders of many photos: its names, and what it writes of them.

    python benchmarks/many_photos.py --photos 20000 100000

The photos are empty files, and a stub in place of the detector finds the same five objects in each, so that only the
search of the folder and the outputs are measured. Each size runs in a process of its own, which writes JSON, JSON
lines, CSV and Parquet.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import harness
import numpy as np

from data import media
from detection.calibration import Calibration
from detection.detections import Detections
from sppnet.detector.detection_outputs import DetectionOutputs
from sppnet.json_report import CommandReport
from sppnet.output_files import is_own
from sppnet.settings.commands import DetectSettings

CLASSES = ("cat", "dog")
FOUND = 5  # objects per photo
KINDS = ("json", "jsonl", "csv", "parquet")


class Stub:
    """Finds the same objects in every photo."""

    classes = CLASSES

    def detect_each(self, paths: Iterable[Path], bad: Any) -> Iterator[tuple[Path, Detections]]:
        """Yield each photo with detections of its own memory."""
        known = Calibration((2.0, 2.0), (0.0, 0.0), (0.5, 0.5))
        for path in paths:
            scores = np.arange(FOUND, dtype=np.float32)
            boxes = scores[:, None] + np.array([0, 0, 20, 20], np.float32)
            yield path, Detections(boxes, scores, scores.astype(int) % 2, CLASSES, calibration=known)


def megabytes() -> float:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(count: int) -> None:
    """Detect in so many photos, and print the peak memory before and after as JSON."""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top) / "photos"
        folder.mkdir()
        for number in range(count):
            (folder / f"IMG_{number:08}.jpg").touch()
        outputs = {kind: Path(top) / f"found.{kind}" for kind in KINDS}
        report = CommandReport(outputs.pop("json"))
        settings = DetectSettings(sources=(str(folder),), **outputs)
        before = megabytes()
        sources = media.find(settings.sources, media.PHOTOS, is_own)
        names = megabytes()
        DetectionOutputs(Stub(), settings, report, lambda line: None).detect(sources)  # type: ignore[arg-type]
    print(json.dumps({"photos": count, "before_mb": before, "names_mb": names, "after_mb": megabytes()}))


def main() -> None:
    """Print the growth of memory per photo, and write the measurements as JSON."""
    flags = harness.parser(__doc__, "many_photos")
    flags.add_argument("--photos", type=int, nargs="+", default=[20_000, 100_000], help="numbers of photos")
    flags.add_argument("--child", type=int, help="measure this number in this process")
    options = flags.parse_args()
    if options.child is not None:
        child(options.child)
        return
    rows = []
    for count in options.photos:
        command = [sys.executable, __file__, "--child", str(count)]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        names, rest = (rows[-1][b] - rows[-1][a] for a, b in (("before_mb", "names_mb"), ("names_mb", "after_mb")))
        print(f"{count:,} photos: {names:.0f} MB for their names, {rest:.0f} MB more while results are written")
    options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
