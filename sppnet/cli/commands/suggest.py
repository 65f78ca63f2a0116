"""Suggest which photos to label next, best first: those that a detector is unsure of, unlike each other and unlike the
photos that are labelled already.

Without --model, photos are compared only, for a first choice before any is labelled.

sppnet suggest holiday/ --model runs/my_photos/model --labelled my_photos
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sppnet.settings.commands import SuggestSettings

if TYPE_CHECKING:
    from sppnet.json_report import CommandReport

SETTINGS = SuggestSettings
REPORTS_ITEMS = True


def run(settings: SuggestSettings, report: CommandReport) -> dict[str, Any]:
    """Return the suggested photos, best first."""
    from data import media, writers
    from data.names import readable
    from data.writers.photos import Photos
    from sppnet.errors import complete
    from sppnet.files import GrowingTable
    from sppnet.output_files import (
        SUGGESTION_COLUMNS,
        check_name,
        check_new_folder,
        identities,
        is_own,
        remove_leftovers_beside,
    )
    from sppnet.progress import log
    from sppnet.suggestion.suggest import Encoder, photos_of, suggest_among

    s = settings
    places = {source.path: source.place for source in media.find(s.sources, is_own=is_own)}
    for output in filter(None, (s.csv, report.path)):
        check_name(output, identities(places))
    if s.copy_to:
        check_new_folder(s.copy_to, s.sources, [s.csv, report.path])
    labelled = photos_of(s.labelled, s.images)
    encoder = Encoder.load(s.model, s.backbone, s.weights, s.device)
    found = suggest_among(list(places), s.count, encoder, labelled)
    if len(found.best) < s.count:
        log.info("only %d photos to choose from: all are listed, best first", len(found.best))
    table = GrowingTable(s.csv, SUGGESTION_COLUMNS)
    table.append([readable(str(one.path)), _cell(one.uncertainty), _cell(one.distance)] for one in found.best)
    for one in found.best:
        print(readable(str(one.path)))
    if s.copy_to and found.best:
        remove_leftovers_beside(s.copy_to)
        with writers.new_folder(s.copy_to) as folder:
            copies = Photos(copy=True)
            for one in found.best:
                copies.put(one.path, folder / places[one.path])
    rows = [{"file": os.fspath(o.path), "uncertainty": o.uncertainty, "distance": o.distance} for o in found.best]
    result = {"photos": rows, "unreadable": found.unreadable}
    return complete(result, found.unreadable, len(places) + len(labelled))


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
