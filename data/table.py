"""Reader of CSV tables with one row per object."""

from __future__ import annotations

import csv
import functools
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.annotation import FRACTIONS, Annotation, Objects, number
from data.build import build
from data.files import folder_of, ids_of, image_size
from data.folders import named
from data.records import Dataset
from data.text import read_text
from data.units import Unit, check_unit, common_unit, to_pixels

ROBOFLOW = "_annotations.csv"
COLUMNS = {
    "file": ("file", "filename", "image", "path", "image_path", "image_id", "img"),
    "x0": ("x0", "xmin", "x1", "left", "x_min"),
    "y0": ("y0", "ymin", "y1", "top", "y_min"),
    "x1": ("x1", "xmax", "x2", "right", "x_max"),
    "y1": ("y1", "ymax", "y2", "bottom", "y_max"),
    "class": ("class", "label", "name", "class_name", "category"),
}
"""Accepted names of each column, in upper or lower case; x1 is the left edge if there is a column x2."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        line: number of the line, from 1.
        file: the image file.
        box: x0, y0, x1, y1 as written in the table.
        name: class name, "" for an image without objects.
        split: name of the split, "" if the table has no such column.
    """

    line: int
    file: str
    box: tuple[str, str, str, str]
    name: str
    split: str


def splits(root: Path) -> dict[str, Path]:
    """Return split name -> CSV file; empty if there is no CSV file.

    Looks for `<split>/_annotations.csv` and `<split>.csv`. A single file, or the only one in a folder, may have a
    column "split"; without it, the file is the split "all".
    """
    exported = {p.parent.name: p for p in sorted(root.glob(f"*/{ROBOFLOW}"))}
    if exported:
        return exported
    files = [root] if root.is_file() and root.suffix.lower() == ".csv" else sorted(root.glob("*.csv"))
    if len(files) != 1:
        return {p.stem: p for p in files}
    columns = sorted({row.split for row in _rows(files[0])} - {""})
    return dict.fromkeys(columns, files[0]) if columns else {"all": files[0]}


def load(
    root: Path, split: str, *, classes: Sequence[str] | None = None, skip_bad: bool = False, name: str | None = None
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

    Raises:
        OSError, ValueError: a column or image is missing, a coordinate is not a number, or one box is in pixels and
            others are in fractions.
    """
    path = splits(root)[split]
    objects: dict[str, list[Row]] = defaultdict(list)
    rows = _rows(path)
    for row in rows:
        if row.split in ("", split):
            objects[os.path.normpath(row.file)].append(row)
    if not objects:
        raise ValueError(f"{path}: no rows for split {split}")
    folder = _image_folder(path, split, objects)
    files = {folder / file: of_file for file, of_file in objects.items()}
    unit = common_unit(_numbers(row) for row in rows)
    readers = {i: functools.partial(_read_one, path, file, files[file], unit) for i, file in ids_of(files).items()}
    return build(name or f"{root.name} {split}", readers, classes, skip_bad)


def _rows(path: Path) -> list[Row]:
    """Read all rows; a table without a header has keras-retinanet's columns: file, x1, y1, x2, y2, class."""
    try:
        reader = csv.reader(read_text(path).splitlines())
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV table ({error})") from None
    if not lines:
        raise ValueError(f"{path}: the table is empty")
    header, first = _header(path, lines[0][1])
    rows = []
    for count, cells in lines[first:]:
        if len(cells) <= max(header.values()):
            raise ValueError(f"{path}: line {count} has {len(cells)} columns, expected {max(header.values()) + 1}")
        value = {what: cells[i].strip() for what, i in header.items()}
        box = (value["x0"], value["y0"], value["x1"], value["y1"])
        rows.append(Row(count, value["file"], box, value["class"], value.get("split", "")))
    return rows


def _header(path: Path, cells: list[str]) -> tuple[dict[str, int], int]:
    """Find the index of each column, and the number of header lines (0 or 1)."""
    names = [cell.strip().lower() for cell in cells]
    found: dict[str, int] = {}
    right_is_x2 = "x2" in names
    for what, known in COLUMNS.items():
        wrong = ("x1", "y1") if (what in ("x1", "y1")) == right_is_x2 and what[0] in "xy" else ()
        at = [names.index(name) for name in known if name in names and name not in wrong]
        if at:
            found[what] = at[0]
    if "split" in names:
        found["split"] = names.index("split")
    if COLUMNS.keys() <= found.keys():
        return found, 1
    if len(cells) == 6 and not any(name in COLUMNS["file"] for name in names):
        return dict(zip(("file", "x0", "y0", "x1", "y1", "class"), range(6), strict=True)), 0
    missing = ", ".join(sorted(COLUMNS.keys() - found.keys()))
    raise ValueError(f"{path}: no column for {missing}; expected file, xmin, ymin, xmax, ymax, class")


def _image_folder(path: Path, split: str, files: Iterable[str]) -> Path:
    root, images = path.parent, named(path.parent, "images")
    return folder_of(files, [root, images, named(root, split), named(images, split)], path)


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
        objects.add(row.name, to_pixels(written, size) if unit is Unit.FRACTIONS else written, written)
    return file, objects.annotation()
