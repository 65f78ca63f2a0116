"""Rows of CSV tables with one row per object, as spreadsheets and scripts write them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.text import read_text

COLUMNS = {
    "file": ("file", "filename", "image", "path", "image_path", "image_id", "img"),
    "x0": ("x0", "xmin", "x1", "left", "x_min"),
    "y0": ("y0", "ymin", "y1", "top", "y_min"),
    "x1": ("x1", "xmax", "x2", "right", "x_max"),
    "y1": ("y1", "ymax", "y2", "bottom", "y_max"),
    "class": ("class", "label", "name", "class_name", "category"),
}
"""Accepted names of each column, in upper or lower case; x1 is the left edge if there is a column x2."""

DELIMITERS = (",", ";", "\t")

_CORNERS = ("x0", "y0", "x1", "y1")
_WITHOUT_HEADER = {what: i for i, what in enumerate(("file", *_CORNERS, "class"))}  # as keras-retinanet
_NUMBER = re.compile(r"\s*([+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?)?\s*", re.IGNORECASE)  # or nothing
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        line: number of the line, from 1.
        file: the image file.
        box: x0, y0, x1, y1 as written in the table, with decimal points.
        name: class name, "" for an image without objects.
        split: name of the split, "" if the table has no such column.
    """

    line: int
    file: str
    box: tuple[str, ...]
    name: str
    split: str


def read_rows(path: Path) -> list[Row]:
    """Read all rows; a table without a header has keras-retinanet's columns: file, x1, y1, x2, y2, class.

    Columns are separated by commas, semicolons or tabs: by that of them with which the first line is a header, or else
    six columns. Numbers may have decimal commas.

    Raises:
        OSError: the file cannot be read.
        ValueError: the table is empty, a column is missing, or a line names no file or has too few or too many
            columns.
    """
    lines, columns, width = _table(path, read_text(path).splitlines())
    rows = []
    for count, cells in lines:
        if len(cells) <= max(columns.values()) or any(cell.strip() for cell in cells[width:]):
            raise ValueError(f"{path}: line {count} has {len(cells)} columns, expected {width}")
        value = {what: cells[i].strip() for what, i in columns.items()}
        if not value["file"]:
            raise ValueError(f"{path}: line {count} names no file")
        box = tuple(value[corner] for corner in _CORNERS)
        rows.append(Row(count, value["file"], box, value["class"], value.get("split", "")))
    return _with_points(rows)


Line = tuple[int, list[str]]
"""Number and cells of a line."""


def _table(path: Path, text: Sequence[str]) -> tuple[Iterator[Line], dict[str, int], int]:
    """Return the lines without the header, the index of each column that is used, and the number of all columns."""
    firsts = {delimiter: next(_lines(path, text, delimiter), (0, []))[1] for delimiter in DELIMITERS}
    headers = {delimiter: _header(cells) for delimiter, cells in firsts.items()}
    for delimiter, columns in headers.items():
        if COLUMNS.keys() <= columns.keys():
            lines = _lines(path, text, delimiter)
            next(lines)
            return lines, columns, len(firsts[delimiter])
    if not any(firsts.values()):
        raise ValueError(f"{path}: the table is empty")
    of_six = [d for d, cells in firsts.items() if len(cells) == len(_WITHOUT_HEADER) and "file" not in headers[d]]
    numbered = [d for d in of_six if all(map(_NUMBER.fullmatch, firsts[d][1:5]))]
    if not of_six:
        missing = ", ".join(sorted(COLUMNS.keys() - max(headers.values(), key=len).keys()))
        raise ValueError(f"{path}: no column for {missing}; expected file, xmin, ymin, xmax, ymax, class")
    return _lines(path, text, [*numbered, *of_six][0]), _WITHOUT_HEADER, len(_WITHOUT_HEADER)


def _lines(path: Path, text: Sequence[str], delimiter: str) -> Iterator[Line]:
    """Yield the lines that are not blank."""
    reader = csv.reader(text, delimiter=delimiter)
    try:
        yield from ((reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells))
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV table ({error})") from None


def _header(cells: Sequence[str]) -> dict[str, int]:
    """Return the index of each column that the first line names."""
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
    return found


def _with_points(rows: list[Row]) -> list[Row]:
    """Write decimal commas as points, unless the table has decimal points: then commas are something else."""
    values = [value for row in rows for value in row.box]
    if any("." in value for value in values) or not any(map(_DECIMAL_COMMA.fullmatch, values)):
        return rows
    return [replace(row, box=tuple(v.replace(",", ".", 1) for v in row.box)) for row in rows]
