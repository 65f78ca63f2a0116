"""Where candidate windows come from: selective search, EdgeBoxes, or both in turn."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detection.image import as_rgb
from proposals.edge_boxes import EdgeBoxesSettings, edge_boxes
from proposals.edges import EdgeMap, from_strength
from proposals.resize import shrink
from proposals.selective_search import MAX_SIDE, MIN_SIDE, SIDE_BITS, selective_search

if TYPE_CHECKING:
    from proposals.hed import HED

Boxes = NDArray[np.float32]

SEARCHES = {"ss": "fast", "ss-single": "single", "ss-quality": "quality"}  # modes of selective search
EDGES = ("gradient", "hed")
SOURCES = (*SEARCHES, "edgeboxes", "ss+edgeboxes")
VERSION = 2  # of the boxes: raised whenever the same settings give others


@dataclass(frozen=True)
class ProposalSettings:
    """All that decides an image's proposals.

    Attributes:
        source: one of `SOURCES`; "ss" is selective search's fast mode, "ss+edgeboxes" takes the boxes of both in
            turn, best first.
        edges: what EdgeBoxes sees: "gradient", the built-in detector, or "hed", the edge network, whose weights are
            fetched on first use.
        max_boxes: only this many, the best-ranked; None for all.
        min_side: boxes less wide or less high than this many pixels are dropped.
        max_side: an image with a longer side is searched at this size, and its boxes are scaled back.
        seed: of the random numbers that mix the hierarchies of selective search.

    Raises:
        ValueError: a setting is not as described.
    """

    source: str = "ss"
    edges: str = "gradient"
    max_boxes: int | None = None
    min_side: int = MIN_SIDE
    max_side: int = MAX_SIDE
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (("source", self.source, SOURCES), ("edges", self.edges, EDGES)):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        if self.edges != "gradient" and "edgeboxes" not in self.source:
            raise ValueError(f"edges: only EdgeBoxes sees edges, {self.source} does not; leave the setting out")
        limits = {"max_boxes": (0, None), "min_side": (0, None), "max_side": (1, 1 << SIDE_BITS), "seed": (0, None)}
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if value is not None and (value < least or (most is not None and value > most)):
                raise ValueError(f"{name}: expected {least}{f' to {most}' if most else ' or more'}, got {value}")

    @property
    def meta(self) -> dict[str, Any]:
        """What a proposal file states about its making."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_meta(cls, meta: dict[str, Any]) -> ProposalSettings:
        """Inverse of `meta`.

        Raises:
            ValueError: the boxes were not made by this program, or by another version of it.
        """
        if meta.get("version") != VERSION:
            raise ValueError(f"proposals: expected settings of version {VERSION}, got {meta}; give boxes")
        return cls(**{name: value for name, value in meta.items() if name != "version"})


def propose(image: NDArray[np.uint8], settings: ProposalSettings | None = None, threads: int = 1) -> Boxes:
    """Boxes likely to hold an object.

    Args:
        image: uint8, RGB (H, W, 3) or grey (H, W).
        settings: source and limits; the detector's selective search by default.
        threads: that a search may use; the boxes do not depend on it.

    Returns:
        float32 (R, 4), xyxy, 0-based inclusive image pixels, best first, without repeats.

    Raises:
        ValueError: the image is not as described.
        OSError: the edge network is asked for and cannot be fetched.
    """
    s = settings or ProposalSettings()
    found: list[Boxes] = []
    for source in s.source.split("+"):
        if source in SEARCHES:
            found.append(selective_search(image, SEARCHES[source], s.min_side, s.seed, s.max_side, threads))
        else:
            found.append(_edge_boxes(image, s))
    return (found[0] if len(found) == 1 else in_turn(*found))[: s.max_boxes]


def _edge_boxes(image: NDArray[np.uint8], s: ProposalSettings) -> Boxes:
    edges = _network_edges(shrink(as_rgb(image), s.max_side)) if s.edges == "hed" else None
    return edge_boxes(image, edges, EdgeBoxesSettings(min_side=s.min_side), s.max_side)[0]


def _network_edges(image: NDArray[np.uint8]) -> EdgeMap:
    from proposals.hed import detect_edges  # torch takes seconds to import

    return from_strength(detect_edges(image, _network()))


@cache
def _network() -> HED:
    from proposals.hed import HED

    return HED.load()


def in_turn(a: Boxes, b: Boxes) -> Boxes:
    """The boxes of both, a first, one of each in turn, what repeats left out: (A, 4), (B, 4) -> (<= A + B, 4)."""
    ranks = np.concatenate([2 * np.arange(len(a)), 2 * np.arange(len(b)) + 1])
    boxes = np.concatenate([a, b])[np.argsort(ranks, kind="stable")]
    first = np.unique(boxes, axis=0, return_index=True)[1]
    return boxes[np.sort(first)]
