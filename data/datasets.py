"""Data sets of any format: detect the format, list the splits, read one of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from data import coco, cvat, label_studio, labelme, table, via, voc, voc_folders, yolo
from data.division import part_of
from data.files import HINT
from data.folders import files_in
from data.json_files import DAMAGED, format_of, load_json
from data.records import Dataset
from data.split_names import PREFERRED, check_split, for_purpose, kind_of

TOOLS = {"VIA": via, "LabelMe": labelme, "CVAT": cvat, "Label Studio": label_studio}
"""Formats of labelling tools, known by the contents of their files."""

FORMATS = {"COCO": coco, "YOLO": yolo, "VIA": via, "CSV": table, "VOC XML": voc_folders, **TOOLS}
"""All formats but VOC's own layout, in the order in which they are looked for."""

HOW = (
    "expected VOC (an .xml file per photo), COCO (annotations/*.json, or <split>/_annotations.coco.json), YOLO "
    "(data.yaml, images and labels, or labels beside the photos), CSV (file, xmin, ymin, xmax, ymax, class), or files "
    "of LabelMe, Label Studio (JSON), CVAT (for images) or VIA"
)

PathLike = str | os.PathLike[str]

AUTOMATIC_SPLITS = ("train", "test")
ALL = "all"  # the split of data without splits
FLAGS = {"train": "--train-split", "test": "--test-split or --split"}


def splits(root: PathLike, year: str | None = None, images: PathLike | None = None) -> tuple[str, ...]:
    """Return the names of the splits of a data set.

    Data without splits, or with one list that is not for testing, has the split "all", and is split automatically into
    "train" and "test", about four fifths and one fifth of the images; see `data.division.part_of`.

    Args:
        root: folder or file.
        year: of a VOCdevkit.
        images: folder of the images; None: in the data set.

    Raises:
        FileNotFoundError: there is no such file or folder, or no data set of a known format in it.
    """
    path, kind, photos = _format(root, images)
    stored = _stored(path, kind, year, photos)
    return (ALL, *AUTOMATIC_SPLITS) if _only_list(stored) else stored


def load_all(
    root: PathLike, names: Sequence[str] | None = None, *, skip_bad: bool = False, images: PathLike | None = None
) -> dict[str, Dataset]:
    """Read several splits of a data set of any format.

    Args:
        root: folder or file.
        names: of splits; None: those that the files define, so that data without splits is the split "all".
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.
        images: folder of the images; None: in the data set.

    Returns:
        split name -> its images; each split has its own classes.

    Raises:
        FileNotFoundError: the data set, a split or a file does not exist.
        ValueError: a file has invalid content.
    """
    path, kind, photos = _format(root, images)
    stored = _stored(path, kind, None, photos)
    only = _only_list(stored) if names is None else None
    wanted = {name: ALL if name == only else name for name in names or stored}
    return {name: load(root, split, skip_bad=skip_bad, images=images) for name, split in wanted.items()}


def load(
    root: PathLike,
    split: str,
    year: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    skip_bad: bool = False,
    images: PathLike | None = None,
) -> Dataset:
    """Read one split of a data set of any format.

    Args:
        root: folder or file.
        split: one of `splits`.
        year: which year of a VOCdevkit.
        classes: class names in label order; None: depends on the format, see its reader. Pass the classes of the
            training split when reading another split.
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.
        images: folder of the images, if they are not in the data set: each is found by the end of its path there.

    Raises:
        FileNotFoundError: the data set, the split or a file does not exist.
        ValueError: a file has invalid content.
    """
    path, kind, photos = _format(root, images)
    stored = _stored(path, kind, year, photos)
    only = _only_list(stored)
    automatic = only is not None and split in AUTOMATIC_SPLITS
    listed = only if only is not None and (automatic or split == ALL) else split
    if listed not in stored and kind != "VOC":
        known = ", ".join(splits(path, year, images)) or "none"
        raise FileNotFoundError(f"{path}: no split {split}; this {kind} data set has {known}")
    stem = path.resolve().stem
    if kind == "VOC":
        found = voc.load(path, year, listed, classes=classes, skip_bad=skip_bad, images=photos)
    else:
        name = stem if automatic else f"{stem} {split}"
        found = FORMATS[kind].load(path, listed, classes=classes, skip_bad=skip_bad, name=name, images=photos)
    told = "no splits" if listed == ALL else f"one list of photos, {listed}"
    return part_of(found, split, stem, told) if automatic else found


def _stored(path: Path, kind: str, year: str | None, images: Path | None) -> tuple[str, ...]:
    """Return the names of the splits that the files of a data set define.

    Raises:
        ValueError: one of them could lead to another folder; what is made of a split is called after it.
    """
    found = voc.splits(path, year) if kind == "VOC" else tuple(FORMATS[kind].splits(path, images))
    for name in found:
        check_split(name, f"{path}: split")
    return found


def _only_list(stored: Sequence[str]) -> str | None:
    """Return the only split, if it is to be divided."""
    return stored[0] if len(stored) == 1 and kind_of(stored[0]) not in PREFERRED["test"] else None


def usual(root: PathLike, year: str | None = None, images: PathLike | None = None) -> tuple[str, str]:
    """Return the names of the training and the test split, found by their usual names.

    Args:
        root: folder or file.
        year: of a VOCdevkit.
        images: folder of the images; None: in the data set.

    Raises:
        FileNotFoundError: there is no data set.
        ValueError: none of the usual names is among the splits, or several are.
    """
    return usual_split(root, "train", year, images), usual_split(root, "test", year, images)


def usual_split(root: PathLike, purpose: str, year: str | None = None, images: PathLike | None = None) -> str:
    """Return the name of the split that is usual for a purpose.

    Args:
        root: folder or file.
        purpose: "train" or "test".
        year: of a VOCdevkit.
        images: folder of the images; None: in the data set.

    Raises:
        FileNotFoundError: there is no data set.
        ValueError: none of the usual names is among the splits, or several are.
    """
    known = splits(root, year, images)
    found = for_purpose(known, purpose)
    if len(found) == 1:
        return found[0]
    if found:
        which = " and ".join(found)
        raise ValueError(f"{root}: {which} could each be the {purpose} split; choose one with {FLAGS[purpose]}")
    if len(known) == 1:
        raise ValueError(f"{root}: has only {known[0]}, for testing; call it train to have it divided automatically")
    raise ValueError(f"{root}: has splits {', '.join(known)}; choose the {purpose} split with {FLAGS[purpose]}")


def _format(root: PathLike, images: PathLike | None) -> tuple[Path, str, Path | None]:
    """Return the data set's path, its format, and the folder of its images if that is another one."""
    path, photos = Path(root), Path(images) if images is not None else None
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such data set; {HOW}")
    if photos is not None and not photos.is_dir():
        raise FileNotFoundError(f"{photos}: no such folder of photos")
    if voc.is_voc(path):
        return path, "VOC", photos
    kind = _kind_of(path, photos)
    if kind == "YOLO" and not yolo.has_labels(path):  # folders images and labels, where the labels may be others
        others = {"VOC XML": voc_folders, **TOOLS}
        kind = next((other for other, reader in others.items() if reader.splits(path, photos)), kind)
    return path, kind, photos


def _kind_of(path: Path, images: Path | None) -> str:
    """Return the first format that a file or folder can be of.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file is damaged.
    """
    problem = None
    for kind, reader in FORMATS.items():
        try:
            if reader.splits(path, images):
                return kind
        except ValueError as error:  # a file of this format is damaged, or it is of another format
            if kind in TOOLS:
                raise
            problem = problem or error
    _check_json(path)
    raise problem or FileNotFoundError(f"{path}: not a data set of a known format; {HOW}; {HINT}")


def _check_json(path: Path) -> None:
    """Raise ValueError if a json file, or one directly in a folder, is damaged, so that its format is unknown."""
    for file in files_in(path, (".json",)) if path.is_dir() else [path]:
        if file.suffix.lower() == ".json" and format_of(file) == DAMAGED:
            load_json(file)
