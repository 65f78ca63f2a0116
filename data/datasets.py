"""Data sets of any format: detect the format, list the splits, read one of them."""

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

TEST_SHARE = 0.2  # of the images, in data without splits
AUTOMATIC_SPLITS = ("train", "test")
FLAGS = {"train": "--train-split", "test": "--test-split or --split"}
USUAL = {"train": ("trainval", "train"), "test": ("test", "val", "valid", "validation")}


def splits(root: str | os.PathLike[str], year: str | None = None) -> tuple[str, ...]:
    """Return the names of the splits of a data set.

    Data without splits has the split "all", and is split automatically into "train" and "test", about four fifths and
    one fifth of the images. An image's id decides its split, so the splits are the same everywhere, and adding images
    does not move others.

    Raises:
        FileNotFoundError: there is no such file or folder, or no data set of a known format in it.
    """
    path, kind = _format(root)
    found = voc.splits(path, year) if kind == "VOC" else tuple(FORMATS[kind].splits(path))
    return ("all", *AUTOMATIC_SPLITS) if found == ("all",) else found


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
        year: which year of a VOCdevkit.
        classes: class names in label order; None: depends on the format, see its reader. Pass the classes of the
            training split when reading another split.
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.

    Raises:
        FileNotFoundError: the data set, the split or a file does not exist.
        ValueError: a file has invalid content.
    """
    path, kind = _format(root)
    if kind == "VOC":
        return voc.load(path, year, split, classes=classes, skip_bad=skip_bad)
    known = splits(path)
    if split not in known:
        raise FileNotFoundError(f"{path}: no split {split}; this {kind} data set has {', '.join(known) or 'none'}")
    name, automatic = f"{path.resolve().stem} {split}", known == ("all", *AUTOMATIC_SPLITS)
    stored = "all" if automatic else split
    found = FORMATS[kind].load(path, stored, classes=classes, skip_bad=skip_bad, name=name)
    if not automatic or split == "all":
        return found
    records = tuple(r for r in found if _automatic_split(r.id) == split)
    if not records:
        raise ValueError(
            f"{path}: {len(found)} images are too few to be split automatically; add a train and a test split"
        )
    return replace(found, records=records)


def usual(root: str | os.PathLike[str], year: str | None = None) -> tuple[str, str]:
    """Return the names of the training and the test split, found by their usual names.

    Raises:
        FileNotFoundError: there is no data set.
        ValueError: none of the usual names is among the splits.
    """
    return usual_split(root, "train", year), usual_split(root, "test", year)


def usual_split(root: str | os.PathLike[str], purpose: str, year: str | None = None) -> str:
    """Return the name of the split that is usual for a purpose.

    Args:
        root: folder or file.
        purpose: "train" or "test".
        year: of a VOCdevkit.

    Raises:
        FileNotFoundError: there is no data set.
        ValueError: none of the usual names is among the splits.
    """
    known = splits(root, year)
    name = next((n for n in USUAL[purpose] if n in known), None)
    if name is None:
        raise ValueError(f"{root}: has splits {', '.join(known)}; choose the {purpose} split with {FLAGS[purpose]}")
    return name


def _automatic_split(image_id: str) -> str:
    """Draw "train" or "test" by the hash of an image id."""
    drawn = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big") / 2**64
    return AUTOMATIC_SPLITS[drawn < TEST_SHARE]


def _format(root: str | os.PathLike[str]) -> tuple[Path, str]:
    path = Path(root)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such data set; {HOW}")
    if voc.is_voc(path):
        return path, "VOC"
    kind = next((kind for kind, reader in FORMATS.items() if reader.splits(path)), None)
    if kind is None:
        raise FileNotFoundError(f"{path}: not a data set of a known format; {HOW}")
    return path, kind
