"""Measure proposals, of this program or any other, against the annotations of a split.

sppnet stage evaluate-proposals --voc2007 --plot recall.png
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sppnet.settings.commands import EvaluateProposalsSettings

SETTINGS = EvaluateProposalsSettings


def resolve(settings: EvaluateProposalsSettings) -> EvaluateProposalsSettings:
    """Fill in the run folder and the split."""
    from sppnet.run import Run

    run = Run.open(settings, settings.split)
    return replace(run.resolved(settings), split=run.test_split)


def run(settings: EvaluateProposalsSettings) -> dict[str, Any]:
    """Return recall, average recall and best overlaps of each file, with the curves over IoU and number of boxes."""
    from sppnet.detector import proposal_measures
    from sppnet.progress import log
    from sppnet.run import Run

    s = settings
    if s.plot:
        proposal_measures.plot_format(s.plot)  # fails before the work
    dataset, measured = proposal_measures.measure_proposals(Run.open(s, s.split), s)
    print(f"{dataset.name}, {len(dataset)} images\n")
    for line in proposal_measures.tables(measured, dataset.classes):
        print(line)
    if s.plot:
        proposal_measures.write_plot(s.plot, measured)
        log.info("curves: %s", s.plot)
    return {name: m.to_dict(dataset.classes) for name, m in measured.items()}
