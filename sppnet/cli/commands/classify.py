"""Classify photos: the best classes of each, printed, as json or as csv.

sppnet classify holiday/ --model runs/photos-classification/classifier
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from data.names import readable
from sppnet.errors import complete, one_line
from sppnet.files import GrowingTable
from sppnet.output_files import CLASS_COLUMNS, check_name, identities, is_own
from sppnet.settings.classifier import ClassifySettings

if TYPE_CHECKING:
    from sppnet.json_report import CommandReport

SETTINGS = ClassifySettings
REPORTS_ITEMS = True


def run(settings: ClassifySettings, report: CommandReport) -> None:
    """Report the best classes of each photo with their scores."""
    from classification.classifier import SPPClassifier
    from data import media
    from detection import parallel
    from detection.image import read
    from detection.memory import kept_flat
    from sppnet.json_report import ITEMS
    from sppnet.progress import log, progress

    s = settings
    paths = [source.path for source in media.find(s.sources, is_own=is_own)]
    inputs = identities(paths)
    for output in filter(None, (s.csv, report.path)):
        check_name(output, inputs)
    weights = s.weights or "pretrained"
    classifier = SPPClassifier.from_pretrained(s.model, device=s.device, weights=weights, precision=s.precision)
    bad: dict[str, str] = {}
    table = GrowingTable(s.csv, CLASS_COLUMNS)
    report.begin({"photos": [ITEMS], "unreadable": bad})
    with progress(len(paths), 0, "img", "photos") as bar:
        for path, photo in kept_flat(parallel.ahead(read, paths)):
            try:
                found = classifier.classify(photo.result()).top(s.top)
            except (OSError, ValueError) as error:
                text = one_line(error)
                bad[os.fspath(path)] = text if str(path) in text else f"{path}: {text}"
                log.warning("left out: %s", bad[os.fspath(path)])
            else:
                shown = readable(str(path))
                table.append((shown, name, f"{score:.4f}") for name, score in found)
                report.add({"file": os.fspath(path), "classes": [{"class": n, "score": v} for n, v in found]})
                print(f"{shown}: {', '.join(f'{name} {score:.2f}' for name, score in found)}")
            bar.update()
    table.append()
    complete(None, bad, len(paths))
