"""What is worth knowing of a data set before training: how much there is of what, and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from data.records import Dataset

SIZES = {"small": 0, "medium": 32**2, "large": 96**2}
"""Least area in pixels of objects of each kind: COCO's."""


def class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Class -> how many images show it, how many objects there are, how many of them difficult, and of each size."""
    counts = {name: dict.fromkeys(("images", "objects", "difficult", *SIZES), 0) for name in dataset.classes}
    edges = [*list(SIZES.values())[1:]]
    for record in dataset:
        areas = np.prod(record.boxes[:, 2:].astype(np.float64) - record.boxes[:, :2] + 1, axis=1)
        kinds = np.digitize(areas, edges)
        for k in np.unique(record.labels):
            counts[dataset.classes[k]]["images"] += 1
        for k, kind, difficult in zip(record.labels, kinds, record.difficult, strict=True):
            of_class = counts[dataset.classes[k]]
            of_class["objects"] += 1
            of_class["difficult"] += int(difficult)
            of_class[list(SIZES)[kind]] += 1
    return counts


def repeated_objects(dataset: Dataset) -> list[str]:
    """Ids of images in which an object of a class is annotated twice with the same box."""
    found = []
    for record in dataset:
        rows = np.column_stack([record.boxes, record.labels])
        if len(np.unique(rows, axis=0)) < len(rows):
            found.append(record.id)
    return found


def same_files(splits: Mapping[str, Iterable[Path]]) -> list[list[tuple[str, Path]]]:
    """Groups of (split, file) whose contents are the same to the byte, wherever they lie.

    A file that several splits name is of each of them.
    """
    by_size: dict[int, list[tuple[str, Path]]] = defaultdict(list)
    for split, paths in splits.items():
        for path in paths:
            if path.is_file():
                by_size[path.stat().st_size].append((split, path))
    groups: dict[bytes, list[tuple[str, Path]]] = defaultdict(list)
    for alike in by_size.values():
        if len(alike) > 1:
            for split, path in alike:
                groups[hashlib.sha256(path.read_bytes()).digest()].append((split, path))
    return [group for group in groups.values() if len(group) > 1]
