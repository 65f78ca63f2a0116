"""Objects that are too small for the candidate windows, and what helps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from data.records import Dataset
from proposals.reach import reachable
from proposals.sources import ProposalSettings


@dataclass(frozen=True)
class SmallObject:
    """An object that no window matches.

    Attributes:
        image_id: its image.
        name: its class.
        sides: width and height in pixels.
        image_size: (H, W) of the image in pixels.
    """

    image_id: str
    name: str
    sides: tuple[float, float]
    image_size: tuple[int, int]

    def __str__(self) -> str:
        width, height = self.sides
        return f"{self.image_id}: {self.name} of {width:g}x{height:g} pixels"


def find_small(dataset: Dataset, search: ProposalSettings) -> list[SmallObject]:
    """Return the objects, other than difficult ones, that no window of a search matches."""
    return list(_small(dataset, search))


def advice(dataset: Dataset, search: ProposalSettings) -> str | None:
    """Return one line on the objects that no window matches, with the settings that help; None if there are none."""
    small = find_small(dataset, search)
    if not small:
        return None
    total = sum(int((~record.difficult).sum()) for record in dataset)
    share = f"{len(small)} of {total} objects ({100 * len(small) / total:.0f} %) are too small for any candidate window"
    least = f"windows start at {search.min_side} pixels per side (--min-side)"
    return f"{dataset.name}: {share}: {least}; {_remedy(dataset, search, small)}"


def _remedy(dataset: Dataset, search: ProposalSettings, small: list[SmallObject]) -> str:
    """Settings that reach all objects, or the factor by which to enlarge the photos where settings do not."""
    shortest = min(min(o.sides) for o in small)
    longest = max(max(o.image_size) for o in small)
    lower = replace(search, min_side=max(1, min(search.min_side, math.floor(shortest))))
    finer = replace(lower, max_side=max(search.max_side, longest))
    for settings in (lower, finer):
        if not find_small(dataset, settings):
            changed = [f"--min-side {settings.min_side}"] * (settings.min_side != search.min_side)
            changed += [f"--max-side {settings.max_side}"] * (settings.max_side != search.max_side)
            return f"use {' '.join(changed)}"
    factor = math.ceil(search.min_side / shortest)
    enlarged = factor * longest
    limit = f" and use --max-side {enlarged}" if enlarged > search.max_side else ""
    return f"enlarge the photos {factor} times{limit}"


def _small(dataset: Dataset, search: ProposalSettings) -> Iterator[SmallObject]:
    for record in dataset:
        counted = ~record.difficult
        boxes, labels = record.boxes[counted].astype(np.float64), record.labels[counted]
        unreached = ~reachable(boxes, record.size, search)
        for box, label in zip(boxes[unreached].tolist(), labels[unreached].tolist(), strict=True):
            sides = (box[2] - box[0] + 1, box[3] - box[1] + 1)
            yield SmallObject(record.id, dataset.classes[label], sides, record.size)
