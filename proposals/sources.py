"""Sources of proposals: selective search, EdgeBoxes, a grid of learned shapes, or two of them interleaved."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from detection.plain_values import MAY_BE_ABSENT, Limits, read, shown
from proposals.edge_boxes import EdgeBoxesSettings, edge_boxes
from proposals.grid import Grid
from proposals.hierarchical_search import MAX_SIDE, MIN_SIDE, SIDE_BITS, selective_search

Boxes = NDArray[np.float32]

SEARCHES = {"ss": "fast", "ss-single": "single", "ss-quality": "quality"}  # source -> mode of selective search
EDGES = "gradient"  # the edge detector of EdgeBoxes, stated in every proposal file
GRID = "grid"
SOURCES = (*SEARCHES, "edgeboxes", "ss+edgeboxes", GRID, f"ss+{GRID}")
LARGEST_SIDE = 1 << SIDE_BITS  # pixels
VERSION = 2  # of the boxes; incremented whenever the same settings give other boxes


@dataclass(frozen=True)
class ProposalSettings:
    """Settings that determine the proposals of an image.

    Attributes:
        source: one of `SOURCES`; "ss" is the fast mode of selective search, "ss+edgeboxes" and "ss+grid" interleave
            the boxes of both, best first.
        max_boxes: number of best-ranked boxes to keep; None: all.
        min_side: minimum width and height of a box in pixels.
        max_side: limit of an image's longer side in pixels; larger images are downsized for the search.
        seed: random seed of the order of selective search's boxes.
        grid: shapes and step of the grid; None for sources without one.

    Raises:
        ValueError: a setting is invalid.
    """

    source: str = "ss"
    max_boxes: Annotated[int, Limits(0, 10**9)] | None = field(default=None, metadata=MAY_BE_ABSENT)
    min_side: Annotated[int, Limits(0, LARGEST_SIDE)] = field(default=MIN_SIDE, metadata=MAY_BE_ABSENT)
    max_side: Annotated[int, Limits(1, LARGEST_SIDE)] = field(default=MAX_SIDE, metadata=MAY_BE_ABSENT)
    seed: Annotated[int, Limits(0, 2**63 - 1)] = field(default=0, metadata=MAY_BE_ABSENT)
    grid: Grid | None = field(default=None, metadata=MAY_BE_ABSENT)

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"source: expected one of {', '.join(SOURCES)}, got {self.source!r}")
        limits = {"max_boxes": (0, None), "min_side": (0, None), "max_side": (1, LARGEST_SIDE), "seed": (0, None)}
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if value is not None and (value < least or (most is not None and value > most)):
                raise ValueError(f"{name}: expected {least}{f' to {most}' if most else ' or more'}, got {value}")
        if (GRID in self.source.split("+")) != (self.grid is not None):
            raise ValueError(
                f"grid: {self.source} with grid={self.grid}; a source with a grid, and no other, needs the shapes that "
                "`sppnet train --proposals` and the stages learn from a data set; choose another source here"
            )

    @property
    def meta(self) -> dict[str, Any]:
        """The settings as a proposal file states them."""
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "grid"}
        grid = {GRID: self.grid.meta} if self.grid else {}
        return {"version": VERSION, "source": settings.pop("source"), "edges": EDGES, **settings, **grid}

    @classmethod
    def from_meta(cls, meta: dict[str, Any]) -> ProposalSettings:
        """Inverse of `meta`.

        Raises:
            ValueError: the boxes were made by another program, another version of this one, or with other edges; or
                a setting is of another kind, which the line names.
        """
        if meta.get("version") != VERSION:
            expected = f"settings of version {VERSION}"
            raise ValueError(f"proposals: expected {expected}, got {shown(meta)}; pass boxes instead")
        if meta.get("edges", EDGES) != EDGES:
            raise ValueError(f"proposals: expected edges {EDGES!r}, got {shown(meta['edges'])}; pass boxes instead")
        settings = {name: value for name, value in meta.items() if name not in ("version", "edges")}
        found: ProposalSettings = read(cls, settings, "proposals")
        return found


def propose(image: NDArray[np.uint8], settings: ProposalSettings | None = None, threads: int = 1) -> Boxes:
    """Propose boxes that are likely to hold an object.

    Args:
        image: uint8, RGB (H, W, 3) or grey (H, W).
        settings: source and limits; None: the defaults, selective search as the detector uses it.
        threads: number of threads for the search; the boxes do not depend on it.

    Returns:
        float32 (R, 4), xyxy, 0-based inclusive image pixels, best first, without duplicates.

    Raises:
        ValueError: the image has another shape or type.
    """
    s = settings or ProposalSettings()
    found: list[Boxes] = []
    for source in s.source.split("+"):
        if source in SEARCHES:
            found.append(selective_search(image, SEARCHES[source], s.min_side, s.seed, s.max_side, threads))
        elif s.grid and source == GRID:
            found.append(s.grid.windows((image.shape[0], image.shape[1])))
        else:
            found.append(edge_boxes(image, settings=EdgeBoxesSettings(min_side=s.min_side), max_side=s.max_side)[0])
    return (found[0] if len(found) == 1 else in_turn(*found))[: s.max_boxes]


def in_turn(a: Boxes, b: Boxes) -> Boxes:
    """Interleave the boxes of a and b, a first, without duplicates: (A, 4), (B, 4) -> (R, 4), R <= A + B."""
    ranks = np.concatenate([2 * np.arange(len(a)), 2 * np.arange(len(b)) + 1])
    boxes = np.concatenate([a, b])[np.argsort(ranks, kind="stable")]
    first = np.unique(boxes, axis=0, return_index=True)[1]
    return boxes[np.sort(first)]
