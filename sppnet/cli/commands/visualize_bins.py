"""Draw the cells of a window on the feature map, and the bins of each level of the spatial pyramid.

sppnet visualize bins photo.jpg --box 48 30 300 240
"""

from __future__ import annotations

from typing import Any

from sppnet.settings.views import BinViewSettings

SETTINGS = BinViewSettings


def run(settings: BinViewSettings) -> dict[str, Any]:
    """Return the box, the scale it is pooled at, and its cells."""
    from sppnet.cli.views import picture_path, write_view
    from sppnet.views.network import bin_view

    path = picture_path(settings, "bins")
    view = bin_view(settings)
    x0, y0, x1, y1 = view.facts["cells"]
    print(f"scale {view.facts['scale']}: cells {x0} to {x1} across, {y0} to {y1} down")
    return write_view(view, path)
