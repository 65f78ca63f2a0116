"""Draw what an SVM's score of a window is made of: the sum of each bin of the spatial pyramid, level by level, and the
bins and channels that add most.

sppnet visualize evidence photo.jpg --class dog
"""

from __future__ import annotations

from typing import Any

from sppnet.settings.views import EvidenceViewSettings

SETTINGS = EvidenceViewSettings


def run(settings: EvidenceViewSettings) -> dict[str, Any]:
    """Return the class, the box, and the pairs of bin and channel that add most to the score."""
    from sppnet.cli.views import picture_path, write_view
    from sppnet.views.network import evidence_view

    path = picture_path(settings, "evidence")
    return write_view(evidence_view(settings), path)
