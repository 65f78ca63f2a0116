"""Say what is on photos.

sppnet-predict holiday/ --model runs/photos-classification/classifier
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common


def run(options: common.Options) -> dict[str, Any]:
    """The best classes of each photo."""
    from classification import SPPClassifier
    from data import media
    from detection import parallel
    from detection.image import read
    from detection.memory import kept_flat
    from sppnet.progress import log, progress

    sources = media.find(options.sources)
    classifier = SPPClassifier.from_pretrained(
        options.model, device=options.device, weights=options.weights or "pretrained", precision=options.precision
    )
    rows: list[dict[str, Any]] = []
    bad: dict[str, str] = {}
    with progress(len(sources), 0, "img", "photos") as bar:
        for path, photo in kept_flat(parallel.ahead(read, [source.path for source in sources])):
            try:
                found = classifier.classify(photo.result()).top(options.top)
            except (OSError, ValueError) as error:
                text = common.one_line(error)
                bad[os.fspath(path)] = text if str(path) in text else f"{path}: {text}"
                log.warning("left out: %s", bad[os.fspath(path)])
            else:
                rows.append({"file": os.fspath(path), "classes": [{"class": n, "score": s} for n, s in found]})
                print(f"{path}: {', '.join(f'{name} {score:.2f}' for name, score in found)}")
            bar.update()
    if options.csv:
        _write_table(options.csv, rows)
    return common.complete({"photos": rows, "unreadable": bad}, bad, len(sources))


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """A line a photo and class."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(("file", "class", "score"))
    table.writerows((row["file"], c["class"], f"{c['score']:.4f}") for row in rows for c in row["classes"])
    common.write_text(path, buffer.getvalue())


def flags(p: argparse.ArgumentParser) -> None:
    """Which photos, and what to do with the answers."""
    p.add_argument("sources", nargs="+", metavar="PHOTO|FOLDER|PATTERN")
    p.add_argument("--model", required=True, metavar="DIR", help="a classifier that was trained")
    p.add_argument("--top", type=common.positive, default=3, help="classes of a photo, the best first (%(default)s)")
    p.add_argument("--csv", type=Path, metavar="FILE", help="a row a photo and class")


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    from sppnet.classifier import photos

    first = (__doc__ or "").split("\n", 1)[0]
    return common.main(run, common.parser(first, flags, photos.network_flags), argv)


if __name__ == "__main__":
    sys.exit(main())
