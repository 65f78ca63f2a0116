"""Which objects proposals can reach at all, given the smallest window of a search."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detection.boxes import area, as_boxes
from proposals.edge_boxes import EdgeBoxesSettings, refined_area
from proposals.hierarchical_search import MODES
from proposals.sources import GRID, SEARCHES, ProposalSettings


def reachable(
    boxes: ArrayLike, image_size: tuple[int, int], settings: ProposalSettings, iou_threshold: float = 0.5
) -> NDArray[np.bool_]:
    """Decide which objects are large enough for a window of a search to have an IoU above a threshold with them.

    Windows have at least `min_side` pixels in both directions. In the image downsized to `max_side`, selective search
    joins regions of fewer pixels than its mode's `min_size` with their neighbours, and EdgeBoxes has a smallest area.
    The windows of a grid have any size.

    Args:
        boxes: (G, 4), xyxy, 0-based inclusive image pixels.
        image_size: (H, W) in pixels.
        settings: of the search.
        iou_threshold: in [0, 1).

    Returns:
        bool (G,).
    """
    boxes = as_boxes(boxes)
    sides, areas = boxes[:, 2:] - boxes[:, :2] + 1, area(boxes)
    by_side = areas / np.maximum(sides, settings.min_side).prod(1)
    searched = areas / max(1.0, max(image_size) / settings.max_side) ** 2  # in the downsized image
    large = np.zeros(len(boxes), np.bool_)
    laid = np.zeros(len(boxes), np.bool_)
    for source in settings.source.split("+"):
        if settings.grid and source == GRID:
            laid = settings.grid.best_overlaps(boxes, image_size) > iou_threshold
        elif source in SEARCHES:
            large |= searched >= min(min_size for _, min_size in MODES[SEARCHES[source]].scales)
        else:
            large |= searched > iou_threshold * refined_area(EdgeBoxesSettings())
    return laid | ((by_side > iou_threshold) & large)
