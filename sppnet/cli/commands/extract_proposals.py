"""Search the photos of a data set for proposals, candidate windows of objects."""

from __future__ import annotations

from typing import Any

from sppnet.cli.resolving import resolve_run as resolve
from sppnet.settings.detector import ExtractProposalsSettings

SETTINGS = ExtractProposalsSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: ExtractProposalsSettings) -> dict[str, Any]:
    """Return the number of images of both splits, and those left out."""
    from sppnet.detector.proposals import discard_proposals, extract_proposals
    from sppnet.progress import log_left_out
    from sppnet.run import DEFAULT_PROPOSALS, Run

    run = Run.open(settings)
    counts: dict[str, Any] = {}
    splits = dict.fromkeys((run.train_split, run.test_split))
    if settings.overwrite:
        discard_proposals(run, splits, settings)
    for split in splits:
        dataset, bad = extract_proposals(run, split, settings)
        log_left_out(bad)
        found = len({r.id for r in dataset} - set(bad))
        print(f"{split}: proposals of {found} images in {run.proposals(split, settings, DEFAULT_PROPOSALS)}")
        counts[split] = {"images": len(dataset), "left_out": bad}
    return counts
