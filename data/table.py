"""Reader of CSV tables with one row per object."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from data.annotation import FRACTIONS, Annotation, Objects, number
from data.build import build
from data.csv_rows import Row, read_rows
from data.files import ids_of, image_size
from data.folders import files_in, named
from data.photo_search import MOVED, PhotoSearch
from data.records import Dataset
from data.units import Unit, check_unit, common_unit, to_pixels

ROBOFLOW = "_annotations.csv"
SUFFIXES = (".csv", ".tsv")


def splits(root: Path, images: Path | None = None) -> dict[str, Path]:
    """Return split name -> CSV file; empty if there is no CSV file.

    Looks for `<split>/_annotations.csv` and `<split>.csv`. A single file, or the only one in a folder, may have a
    column "split"; without it, the file is the split "all".
    """
    exported = {p.parent.name: p for p in sorted(root.glob(f"*/{ROBOFLOW}"))}
    if exported:
        return exported
    files = [root] if root.is_file() and root.suffix.lower() in SUFFIXES else files_in(root, SUFFIXES)
    if len(files) != 1:
        return {p.stem: p for p in files}
    columns = sorted({row.split for row in read_rows(files[0])} - {""})
    return dict.fromkeys(columns, files[0]) if columns else {"all": files[0]}


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

    Corners are 0-based inclusive pixels, or fractions of the image if most rows of the file allow only that. An image
    without objects is a row whose other columns are empty.

    Args:
        root: folder or file, as for `splits`.
        split: name of the split.
        classes: class names in label order; None: the names that occur, sorted.
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.
        name: name of the data set and split, for messages.
        images: folder of the images; None: in the data set.

    Raises:
        OSError, ValueError: a column or image is missing, a coordinate is not a number, or one box is in pixels and
            others are in fractions.
    """
    path = splits(root)[split]
    rows = read_rows(path)
    of_split = [row for row in rows if row.split in ("", split)]
    if not of_split:
        raise ValueError(f"{path}: no rows for split {split}")
    paths, moved = _search(path, split, images).find(row.file for row in of_split)
    files: dict[Path, list[Row]] = defaultdict(list)
    for row in of_split:
        files[paths[row.file]].append(row)
    unit = common_unit(_numbers(row) for row in rows)
    readers = {i: functools.partial(_read_one, path, file, files[file], unit) for i, file in ids_of(files).items()}
    return build(name or f"{root.name} {split}", readers, classes, skip_bad, notes={MOVED: moved})


def _search(path: Path, split: str, images: Path | None) -> PhotoSearch:
    """Return the search for the images of a table."""
    root = path.parent if images is None else images
    within = named(root, "images")
    return PhotoSearch([root, within, named(root, split), named(within, split)], root, path)


def _numbers(row: Row) -> list[float]:
    """Return the corners of a row as numbers, or none if it has no box or one that cannot be read."""
    try:
        return [number(text, "a coordinate") for text in row.box]
    except ValueError:
        return []


def _read_one(path: Path, file: Path, rows: list[Row], unit: Unit) -> tuple[Path, Annotation]:
    size = image_size(file)
    objects = Objects(path, size)
    for row in rows:
        if not row.name and not any(row.box):
            continue
        where = f"{path}: line {row.line}"
        if not row.name:
            raise ValueError(f"{where}: the box has no class")
        written = [number(text, f"{where}: a coordinate") for text in row.box]
        check_unit(written, unit, where)
        if unit is Unit.FRACTIONS:
            objects.note(FRACTIONS, f"line {row.line} ({row.name})")
        corners = objects.ordered(row.name, written)
        objects.add(row.name, to_pixels(corners, size) if unit is Unit.FRACTIONS else corners, written)
    return file, objects.annotation()
