"""Draw the best proposal for each annotated object of a photo, or the best-ranked proposals of a photo without
annotation.

sppnet visualize proposals photo.jpg --annotation photo.xml
"""

from __future__ import annotations

from typing import Any

from sppnet.settings.views import ProposalViewSettings

SETTINGS = ProposalViewSettings


def run(settings: ProposalViewSettings) -> dict[str, Any]:
    """Return the number of boxes and what is drawn: IoU and rank of each object's best box, or how many boxes."""
    from sppnet.cli.views import picture_path, write_view
    from sppnet.views.proposals import proposal_view

    path = picture_path(settings, "proposals")
    view = proposal_view(settings)
    for o in view.facts.get("objects", ()):
        name = f"{o['class']}{' (difficult)' * o['difficult']}"
        print(f"{name}: IoU {o['iou']:.3f}, box {o['rank']} of {view.facts['boxes']}")
    return write_view(view, path)
