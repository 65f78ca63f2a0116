"""Pack a trained detector for others: half precision, and a card with its origin and scores.

The folder is what SPPDetector.from_pretrained takes. If it lies in the run folder, `sppnet stage test-net --model`
measures the packed model.

sppnet export model --voc2007 --to runs/voc2007/packed
"""

from __future__ import annotations

from typing import Any

from sppnet.cli.resolving import resolve_run as resolve
from sppnet.settings.commands import ExportModelSettings

SETTINGS = ExportModelSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: ExportModelSettings) -> dict[str, Any]:
    """Return the card."""
    from sppnet.detector.packing import pack_model
    from sppnet.run import Run
    from sppnet.text import size

    card = pack_model(Run.open(settings), settings)
    print(f"{size(card['bytes'])}, {card['seconds_per_image']:.2f} s per image: {settings.to}")
    return card
