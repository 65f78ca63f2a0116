"""Any data set: which format it has, which splits, and the records of one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data import coco, table, voc, yolo
from data.records import Dataset

FORMATS = {"COCO": coco, "YOLO": yolo, "CSV": table}
HOW = (
    "expected VOC (Annotations, JPEGImages, ImageSets), COCO (annotations/*.json, or <split>/_annotations.coco.json), "
    "YOLO (data.yaml, or images and labels) or CSV (file, xmin, ymin, xmax, ymax, class)"
)

TEST_SHARE = 0.2  # of a data set that is not divided
DIVIDED = ("train", "test")
USUAL = {"train": ("trainval", "train"), "test": ("test", "val", "valid", "validation")}


def splits(root: str | os.PathLike[str], year: str | None = None) -> tuple[str, ...]:
    """Names of the splits of a data set.

    One that is not divided is the split "all", and "train" and "test" are four fifths and a fifth of it, drawn by the
    images' ids: the same for everybody, and an image that is added later changes no other's side.

    Raises:
        FileNotFoundError: there is nothing, or nothing of a format that is known.
    """
    path, kind = _format(root)
    found = voc.splits(path, year) if kind == "VOC" else tuple(FORMATS[kind].splits(path))
    return ("all", *DIVIDED) if found == ("all",) else found


def load(
    root: str | os.PathLike[str],
    split: str,
    year: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    skip_bad: bool = False,
) -> Dataset:
    """Read one split of a data set of any format.

    Args:
        root: folder or file.
        split: one of `splits`.
        year: of a VOCdevkit.
        classes: names in label order; None: as the format tells, see its reader. Give those of the training split when
            reading another.
        skip_bad: leave out images that cannot be used, and list them in `Dataset.bad`.

    Raises:
        FileNotFoundError: no such data set, split or file.
        ValueError: something in it cannot be understood.
    """
    path, kind = _format(root)
    if kind == "VOC":
        return voc.load(path, year, split, classes=classes, skip_bad=skip_bad)
    known = splits(path)
    if split not in known:
        raise FileNotFoundError(f"{path}: no split {split}; this {kind} data set has {', '.join(known) or 'none'}")
    name, divided = f"{path.resolve().stem} {split}", known == ("all", *DIVIDED)
    there = "all" if divided else split
    found = FORMATS[kind].load(path, there, classes=classes, skip_bad=skip_bad, name=name)
    if not divided or split == "all":
        return found
    records = tuple(r for r in found if _side(r.id) == split)
    if not records:
        raise ValueError(f"{path}: {len(found)} images are too few to divide; name a split for each")
    return replace(found, records=records)


def usual(root: str | os.PathLike[str], year: str | None = None) -> tuple[str, str]:
    """The splits that people mean by training and test data.

    Raises:
        FileNotFoundError: there is no data set.
        ValueError: none of the usual names is among its splits.
    """
    return usual_split(root, "train", year), usual_split(root, "test", year)


def usual_split(root: str | os.PathLike[str], purpose: str, year: str | None = None) -> str:
    """The split that people use for "train" or for "test".

    Raises:
        FileNotFoundError: there is no data set.
        ValueError: none of the usual names is among its splits.
    """
    known = splits(root, year)
    name = next((n for n in USUAL[purpose] if n in known), None)
    if name is None:
        raise ValueError(f"{root}: has splits {', '.join(known)}; say which is for {purpose} with --{purpose}-split")
    return name


def _side(image_id: str) -> str:
    drawn = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big") / 2**64
    return DIVIDED[drawn < TEST_SHARE]


def _format(root: str | os.PathLike[str]) -> tuple[Path, str]:
    path = Path(root)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such data set; {HOW}")
    if voc.is_voc(path):
        return path, "VOC"
    kind = next((kind for kind, reader in FORMATS.items() if reader.splits(path)), None)
    if kind is None:
        raise FileNotFoundError(f"{path}: no data set of a known format; {HOW}")
    return path, kind
