"""Checks of a data set before training: object counts, sizes of photos, identical files."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from data.records import Dataset

SIZES = {"small": 0, "medium": 32**2, "large": 96**2}
"""Smallest area in pixels of each size of objects, as COCO defines them."""


def class_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Count images and objects per class.

    Returns:
        class name -> number of "images" that show the class, of "objects", of "difficult" objects, and of objects of
        each size in `SIZES`.
    """
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


def photo_sizes(dataset: Dataset) -> dict[str, tuple[int, int]]:
    """Return (H, W) of the "smallest", "median" and "largest" photo by area in pixels; empty without photos."""
    sizes = sorted((record.size for record in dataset), key=lambda size: (size[0] * size[1], size))
    if not sizes:
        return {}
    return {"smallest": sizes[0], "median": sizes[(len(sizes) - 1) // 2], "largest": sizes[-1]}


def same_files(splits: Mapping[str, Iterable[Path]]) -> list[list[tuple[str, Path]]]:
    """Find files with identical contents.

    Args:
        splits: split name -> its files.

    Returns:
        groups of (split, file), at least two in each; a file listed in several splits is in its group once per split.
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
