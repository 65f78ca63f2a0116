"""Draw the regions of a photo as selective search merges them.

sppnet visualize levels photo.jpg --regions 100 10
"""

from __future__ import annotations

from typing import Any

from sppnet.settings.views import LevelViewSettings

SETTINGS = LevelViewSettings


def run(settings: LevelViewSettings) -> dict[str, Any]:
    """Return height and width of the sheet."""
    from sppnet.cli.views import picture_path, write_view
    from sppnet.views.proposals import level_view

    path = picture_path(settings, "levels")
    return write_view(level_view(settings), path)
