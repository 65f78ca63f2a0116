"""Reader of VOC annotations without the devkit's layout: beside the photos, or in folders of any names."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from data.annotation import UNLABELLED, UNUSED, Annotation
from data.build import build
from data.files import HINT, ids_of
from data.records import Dataset
from data.voc import class_names
from data.voc_pairs import ALL, Pairs
from data.voc_xml import is_annotation, read_annotation

OUTSIDE = "annotations outside the folders of the splits, left out"
"""Kind of remarks; see `data.annotation.Annotation.notes`."""


def splits(root: Path, images: Path | None = None) -> tuple[str, ...]:
    """Return the names of the splits; empty if there are no VOC annotations.

    Annotations or photos in a folder that is named like a split belong to it: train/a.xml, or annotations/a.xml of
    images/train/a.jpg. Without such folders, all belong to the split "all".
    """
    pairs = Pairs.below(root, images)
    if not any(map(is_annotation, pairs.split_of)):
        return ()
    names = sorted(set(pairs.split_of.values()))
    return tuple(name for name in names if name != ALL) or (ALL,)


def load(
    root: Path,
    split: str,
    *,
    classes: Sequence[str] | None = None,
    skip_bad: bool = False,
    name: str | None = None,
    images: Path | None = None,
) -> Dataset:
    """Read one split.

    The photo of an annotation has its name without the suffix, or else the name in its `<filename>`, and lies in the
    nearest folder. Photos without an annotation are left out: they are not labelled yet. Boxes and classes are as
    `data.voc.load` describes them.

    Args:
        root: folder, as for `splits`.
        split: name of the split.
        classes: class names in label order; None: the twenty of VOC, or the names that occur.
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.
        name: name of the data set and split, for messages.
        images: folder of the images; None: in the data set.

    Raises:
        OSError, ValueError: an annotation is damaged or may be of several photos, or most annotations have no photo.
    """
    pairs = Pairs.below(root, images)
    mine = [path for path, of_split in pairs.split_of.items() if of_split == split]
    unused = [str(path) for path in mine if path not in pairs.photo_of]
    if 2 * len(unused) > len(mine):
        told = f"{len(unused)} of {len(mine)} annotations have no photo, such as {unused[0]}"
        raise FileNotFoundError(f"image is missing: {told}; {HINT}")
    of_photo = {pairs.photo_of[path]: path for path in mine if path in pairs.photo_of}
    readers = {i: functools.partial(_read_one, photo, of_photo[photo]) for i, photo in ids_of(of_photo).items()}
    outside = [] if split == ALL else [str(path) for path, of_split in pairs.split_of.items() if of_split == ALL]
    notes = {UNUSED: unused, UNLABELLED: list(map(str, pairs.unlabelled(split))), OUTSIDE: outside}
    return build(name or f"{root.name} {split}", readers, classes, skip_bad, class_names, notes)


def _read_one(photo: Path, path: Path) -> tuple[Path, Annotation]:
    return photo, read_annotation(path, photo)
