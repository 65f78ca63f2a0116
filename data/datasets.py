"""Data sets of any format: detect the format, list the splits, read one of them."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data import coco, cvat, label_studio, labelme, table, via, voc, yolo
from data.folders import files_in
from data.json_files import DAMAGED, load_json, tool_of
from data.records import Dataset

TOOLS = {"VIA": via, "LabelMe": labelme, "CVAT": cvat, "Label Studio": label_studio}
"""Formats of labelling tools, known by the contents of their files."""

FORMATS = {"COCO": coco, "YOLO": yolo, "VIA": via, "CSV": table, **TOOLS}
"""All formats but VOC, in the order in which they are looked for."""

HOW = (
    "expected VOC (Annotations, JPEGImages, ImageSets), COCO (annotations/*.json, or <split>/_annotations.coco.json), "
    "YOLO (data.yaml, images and labels, or labels beside the photos), CSV (file, xmin, ymin, xmax, ymax, class), or "
    "files of LabelMe, Label Studio (JSON), CVAT (for images) or VIA"
)

log = logging.getLogger(__name__)

TEST_SHARE = 0.2  # of the images, in data without splits
AUTOMATIC_SPLITS = ("train", "test")
ALL = "all"  # the split of data without splits
FLAGS = {"train": "--train-split", "test": "--test-split or --split"}
USUAL = {"train": ("trainval", "train"), "test": ("test", "val", "valid", "validation")}


def splits(root: str | os.PathLike[str], year: str | None = None) -> tuple[str, ...]:
    """Return the names of the splits of a data set.

    Data without splits, or with one list that is not for testing, has the split "all", and is split automatically into
    "train" and "test", about four fifths and one fifth of the images. An image's id decides its split, so the splits
    are the same everywhere, and adding images does not move others, unless one of the two would be empty.

    Raises:
        FileNotFoundError: there is no such file or folder, or no data set of a known format in it.
    """
    path, kind = _format(root)
    stored = _stored(path, kind, year)
    return (ALL, *AUTOMATIC_SPLITS) if _only_list(stored) else stored


def load_all(
    root: str | os.PathLike[str], names: Sequence[str] | None = None, *, skip_bad: bool = False
) -> dict[str, Dataset]:
    """Read several splits of a data set of any format.

    Args:
        root: folder or file.
        names: of splits; None: those that the files define, so that data without splits is the split "all".
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.

    Returns:
        split name -> its images; each split has its own classes.

    Raises:
        FileNotFoundError: the data set, a split or a file does not exist.
        ValueError: a file has invalid content.
    """
    if names is not None:
        return {name: load(root, name, skip_bad=skip_bad) for name in names}
    stored = _stored(*_format(root), None)
    only = _only_list(stored)
    return {name: load(root, ALL if name == only else name, skip_bad=skip_bad) for name in stored}


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
    stored = _stored(path, kind, year)
    only = _only_list(stored)
    automatic = only is not None and split in AUTOMATIC_SPLITS
    listed = only if only is not None and (automatic or split == ALL) else split
    if listed not in stored and kind != "VOC":
        known = ", ".join(splits(path)) or "none"
        raise FileNotFoundError(f"{path}: no split {split}; this {kind} data set has {known}")
    stem = path.resolve().stem
    if kind == "VOC":
        found = voc.load(path, year, listed, classes=classes, skip_bad=skip_bad)
    else:
        name = stem if automatic else f"{stem} {split}"
        found = FORMATS[kind].load(path, listed, classes=classes, skip_bad=skip_bad, name=name)
    return _part(found, stem, split, listed) if automatic else found


def _part(whole: Dataset, stem: str, split: str, listed: str) -> Dataset:
    """Return the images of an automatic split, "train" or "test", and what is said about them.

    Raises:
        ValueError: there is only one image.
    """
    test = _test_ids([r.id for r in whole])
    told = "no splits" if listed == ALL else f"one list of photos, {listed}"
    counts = f"{len(whole) - len(test)} for training, {len(test)} for testing"
    log.warning("%s: %s; divided automatically: %s", stem, told, counts)
    test |= {i for i in whole.bad if _drawn(i) < TEST_SHARE}

    def inside(image_id: str) -> bool:
        return (image_id in test) == (split == "test")

    def mine(remark: str) -> bool:  # those on no image are with the training images
        return inside(remark.split(": ")[0])

    return replace(
        whole,
        name=f"{stem} {split}",
        records=tuple(r for r in whole if inside(r.id)),
        bad={i: reason for i, reason in whole.bad.items() if inside(i)},
        dropped=tuple(filter(mine, whole.dropped)),
        clipped=tuple(filter(mine, whole.clipped)),
        notes={kind: tuple(filter(mine, remarks)) for kind, remarks in whole.notes.items()},
    )


def _stored(path: Path, kind: str, year: str | None) -> tuple[str, ...]:
    """Return the names of the splits that the files of a data set define."""
    return voc.splits(path, year) if kind == "VOC" else tuple(FORMATS[kind].splits(path))


def _only_list(stored: Sequence[str]) -> str | None:
    """Return the only split, if it is to be divided."""
    return stored[0] if len(stored) == 1 and stored[0] not in USUAL["test"] else None


def _test_ids(ids: Sequence[str]) -> set[str]:
    """Choose images for testing by the hashes of their ids, at least one and not all.

    Raises:
        ValueError: there is only one image.
    """
    if len(ids) < 2:
        raise ValueError(f"image {ids[0]}: one image is too few for training and testing; add others")
    order = sorted(ids, key=_drawn)
    count = sum(_drawn(i) < TEST_SHARE for i in ids)
    return set(order[: min(max(count, 1), len(order) - 1)])


def _drawn(image_id: str) -> float:
    """Turn an image id into a number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big") / 2**64


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
    if name is None and len(known) == 1:
        raise ValueError(f"{root}: has only {known[0]}, for testing; call it train to have it divided automatically")
    if name is None:
        raise ValueError(f"{root}: has splits {', '.join(known)}; choose the {purpose} split with {FLAGS[purpose]}")
    return name


def _format(root: str | os.PathLike[str]) -> tuple[Path, str]:
    path = Path(root)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such data set; {HOW}")
    if voc.is_voc(path):
        return path, "VOC"
    kind = _kind_of(path)
    if kind == "YOLO" and not yolo.has_labels(path):  # folders images and labels, where the labels may be a tool's
        kind = next((tool for tool, reader in TOOLS.items() if reader.splits(path)), kind)
    if kind is None:
        _report_damage(path)
        raise FileNotFoundError(f"{path}: not a data set of a known format; {HOW}")
    return path, kind


def _kind_of(path: Path) -> str | None:
    """Return the first format that a file or folder can be of; None: there is none.

    Raises:
        ValueError: there are files of a format that cannot be read, such as a table without the columns of labels.
    """
    fault = None
    for kind, reader in FORMATS.items():
        try:
            if reader.splits(path):
                return kind
        except ValueError as error:
            if reader is not table:
                raise
            fault = error  # a table of something else may lie beside the files of a tool
    if fault is not None:
        raise fault
    return None


def _report_damage(path: Path) -> None:
    """Raise ValueError if a json file, or one directly in a folder, is damaged, so that its format is unknown."""
    for file in files_in(path, (".json",)) if path.is_dir() else [path]:
        if file.suffix.lower() == ".json" and tool_of(file) == DAMAGED:
            load_json(file)
