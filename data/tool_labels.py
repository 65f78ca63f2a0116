"""Builds a `Dataset` from what the file of a labelling tool says about each photo; shared by the readers of tools."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.annotation import REPEATED, UNLABELLED, Annotation, number, plain
from data.build import build
from data.files import HINT, ids_of
from data.photo_index import PhotoIndex, path_parts
from data.records import Dataset


@dataclass(frozen=True)
class PhotoLabels:
    """The labels of one photo, as yet unread.

    Attributes:
        source: the label file.
        names: what it calls the photo, the likeliest first; one at least.
        read: photo file -> its annotation; raises ValueError or OSError.
        size: of the photo's file in bytes; None: unknown.
        missing: what is wrong if there is no such photo; "": that it is missing.
    """

    source: Path
    names: tuple[str, ...]
    read: Callable[[Path], Annotation]
    size: int | None = None
    missing: str = ""


@dataclass
class _Listed:
    """What label files say about one photo: labels, once or repeatedly, or why there are none that can be used."""

    labels: list[PhotoLabels] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)


@dataclass(frozen=True)
class SplitLabels:
    """The labels of one split, as yet unread.

    Attributes:
        name: name of the data set and split, for messages.
        split: name of the split.
        labels: of its photos; one at least.
        photos: those of the split that have to have labels; the others among them are named in a remark.
        notes: kind -> remarks on the split as a whole.
    """

    name: str
    split: str
    labels: Sequence[PhotoLabels]
    photos: Sequence[Path] = ()
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def build_labelled(of_split: SplitLabels, index: PhotoIndex, classes: Sequence[str] | None, skip_bad: bool) -> Dataset:
    """Find the photos of a split and read their labels.

    A photo that is listed several times has the objects of all its entries.

    Args:
        of_split: the labels.
        index: of the data set's photos.
        classes: class names in label order; None: the names that occur, sorted.
        skip_bad: skip photos that cannot be used and list them in `Dataset.bad`, instead of raising.

    Raises:
        OSError, ValueError: a photo cannot be used, or none of them can.
    """
    listed: dict[Path, _Listed] = {}
    for labels in of_split.labels:
        wanted = index.root.joinpath(*path_parts(labels.names[0]))
        try:
            path = index.find(labels.names, labels.source, of_split.split, labels.size)
            if path is None:
                raise ValueError(labels.missing) if labels.missing else _missing(labels, wanted, index.root)
            listed.setdefault(path, _Listed()).labels.append(labels)
        except (OSError, ValueError) as error:
            listed.setdefault(wanted, _Listed()).faults.append(error)
    readers = {i: functools.partial(_read, path, listed[path]) for i, path in ids_of(listed).items()}
    unlabelled = [*of_split.notes.get(UNLABELLED, ()), *(str(p) for p in of_split.photos if p not in listed)]
    return build(of_split.name, readers, classes, skip_bad, notes={**of_split.notes, UNLABELLED: unlabelled})


def stated_size(height: Any, width: Any, where: str) -> tuple[int, int] | None:
    """Return (H, W) of a photo as a label file states it; None: it states no size.

    Args:
        height, width: the values in the file, None if absent.
        where: file and photo, the start of the error message.

    Raises:
        ValueError: they are no whole numbers of at least 1.
    """
    if height is None and width is None:
        return None
    values = [number(value, f"{where}: the {side}") for value, side in ((height, "height"), (width, "width"))]
    if any(value < 1 or value % 1 for value in values):
        got = f"{plain(values[1])}x{plain(values[0])}"
        raise ValueError(f"{where}: the size is {got}, expected whole numbers of pixels of at least 1")
    return int(values[0]), int(values[1])


def _missing(labels: PhotoLabels, wanted: Path, root: Path) -> FileNotFoundError:
    looked = f"looked in {root} and its subfolders; {HINT}"
    return FileNotFoundError(f"image is missing: {wanted.name} of {labels.source}; {looked}")


def _read(path: Path, listed: _Listed) -> tuple[Path, Annotation]:
    if listed.faults:
        raise listed.faults[0]
    names = list({path_parts(labels.names[0]): labels.names[0] for labels in listed.labels}.values())
    if len(names) > 1:
        raise ValueError(
            f"{listed.labels[0].source}: {names[0]} and {names[1]} both lead to {path}; correct one of them"
        )
    return path, _merged([labels.read(path) for labels in listed.labels])


def _merged(annotations: Sequence[Annotation]) -> Annotation:
    """One annotation of a photo from several; objects that an earlier one has too come once.

    Raises:
        ValueError: they state different sizes of the photo.
    """
    first, *others = annotations
    for other in others:
        if other.size != first.size:
            sizes = " and ".join(f"{width}x{height}" for height, width in (first.size, other.size))
            raise ValueError(f"{other.source}: a photo is listed more than once, with sizes {sizes}; correct one")
        seen = set(_objects(first))
        new = [key not in seen for key in _objects(other)]
        kinds = {**first.notes, **other.notes}
        notes = {kind: [*first.notes.get(kind, ()), *other.notes.get(kind, ())] for kind in kinds}
        repeated = f"in {first.source}" + f" and {other.source}" * (other.source != first.source)
        first = replace(
            first,
            names=first.names + tuple(name for name, is_new in zip(other.names, new, strict=True) if is_new),
            boxes=np.concatenate([first.boxes, other.boxes[new]]),
            difficult=np.concatenate([first.difficult, other.difficult[new]]),
            dropped=first.dropped + other.dropped,
            clipped=first.clipped + other.clipped,
            notes=notes | {REPEATED: [repeated]},
        )
    return first


def _objects(annotation: Annotation) -> list[tuple[str, tuple[float, ...]]]:
    return [(name, tuple(box)) for name, box in zip(annotation.names, annotation.boxes.tolist(), strict=True)]
