"""Classify photos: the best classes of each, printed, as json or as csv.

sppnet classify holiday/ --model runs/photos-classification/classifier
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from sppnet.errors import complete, one_line
from sppnet.files import write_text
from sppnet.settings.classifier import ClassifySettings

SETTINGS = ClassifySettings


def run(settings: ClassifySettings) -> dict[str, Any]:
    """Return the best classes of each photo with their scores."""
    from classification.classifier import SPPClassifier
    from data import media
    from detection import parallel
    from detection.image import read
    from detection.memory import kept_flat
    from sppnet.progress import log, progress

    s = settings
    paths = [source.path for source in media.find(s.sources)]
    weights = s.weights or "pretrained"
    classifier = SPPClassifier.from_pretrained(s.model, device=s.device, weights=weights, precision=s.precision)
    rows: list[dict[str, Any]] = []
    bad: dict[str, str] = {}
    with progress(len(paths), 0, "img", "photos") as bar:
        for path, photo in kept_flat(parallel.ahead(read, paths)):
            try:
                found = classifier.classify(photo.result()).top(s.top)
            except (OSError, ValueError) as error:
                text = one_line(error)
                bad[os.fspath(path)] = text if str(path) in text else f"{path}: {text}"
                log.warning("left out: %s", bad[os.fspath(path)])
            else:
                rows.append({"file": os.fspath(path), "classes": [{"class": n, "score": v} for n, v in found]})
                print(f"{path}: {', '.join(f'{name} {score:.2f}' for name, score in found)}")
            bar.update()
    if s.csv:
        _write_table(s.csv, rows)
    return complete({"photos": rows, "unreadable": bad}, bad, len(paths))


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one row per photo and class as CSV."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(("file", "class", "score"))
    table.writerows((row["file"], c["class"], f"{c['score']:.4f}") for row in rows for c in row["classes"])
    write_text(path, buffer.getvalue())
