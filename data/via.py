"""Reader of VIA, the VGG Image Annotator: projects, and annotations as json or CSV."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.json_files import VIA, expect, format_of, load_json
from data.label_files import one_file_per_split
from data.photo_index import PhotoIndex, path_parts
from data.records import Dataset
from data.text import read_text
from data.tool_labels import PhotoLabels, SplitLabels, build_labelled
from data.via_regions import Region, class_attribute, read_regions

_COLUMNS = ("filename", "file_size", "region_shape_attributes", "region_attributes")
_HEADER = 4096  # bytes that the header of a table may take


@dataclass(frozen=True)
class _Photo:
    """One photo of a file, with its name, the size of its file in bytes, or None, and its regions."""

    name: str
    size: int | None
    regions: list[Region] = field(default_factory=list)


def splits(root: Path, images: Path | None = None) -> dict[str, Path]:
    """Return split name -> json or CSV file; empty if there is none of VIA. See `one_file_per_split`.

    Raises:
        ValueError: there are several files, and their names do not say which is for what.
    """
    found = one_file_per_split(root, ".json", lambda path: format_of(path) == VIA, VIA)
    tables = one_file_per_split(root, ".csv", _is_table, VIA)
    if found and tables:
        both = f"{next(iter(found.values()))} and {next(iter(tables.values())).name}"
        raise ValueError(f"{both}: VIA files of the same photos, or of different ones? give the path of one of them")
    return found or tables


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

    Rectangles, circles, ellipses and polygons become the boxes around them; points, lines and unknown shapes are left
    out with a remark. A photo without regions has no objects. The class is the attribute of regions that is called
    class, label, name or type, or else their only one: text, or the chosen one of several boxes to tick. Coordinates
    are continuous: the edges x0, y0, x1, y1 of a shape become 0-based inclusive corners, x1 - 1 and y1 - 1.

    Args:
        root: folder or file, as for `splits`.
        split: name of the split.
        classes: class names in label order; None: the names that occur, sorted.
        skip_bad: skip photos that cannot be used and list them in `Dataset.bad`, instead of raising.
        name: name of the data set and split, for messages.
        images: folder of the photos; None: in the data set.

    Raises:
        OSError, ValueError: the file is damaged, a region has no class, or a photo is missing.
    """
    path = splits(root)[split]
    photos = list(_photos_of_table(path) if path.suffix.lower() == ".csv" else _photos_of_json(path))
    if not photos:
        raise ValueError(f"{path}: lists no photos")
    attribute = class_attribute(path, [region for photo in photos for region in photo.regions])
    labels = [_labels_of(path, photo, attribute) for photo in photos]
    index = PhotoIndex(root, images)
    return build_labelled(SplitLabels(name or f"{root.stem} {split}", split, labels), index, classes, skip_bad)


def _is_table(path: Path) -> bool:
    """Whether a CSV file has VIA's header."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except OSError:
        return False
    return all(column.encode() in header for column in _COLUMNS)


def _labels_of(path: Path, photo: _Photo, attribute: str) -> PhotoLabels:
    missing = "" if path_parts(photo.name) else f"{path}: a photo has no name"
    read = functools.partial(read_regions, path, photo.regions, attribute)
    return PhotoLabels(path, (photo.name if not missing else "nameless",), read, photo.size, missing)


def _photos_of_json(path: Path) -> Iterator[_Photo]:
    content = expect(load_json(path), dict, f"{path}: the content")
    photos = expect(content.get("_via_img_metadata", content), dict, f"{path}: _via_img_metadata")
    for key, value in photos.items():
        photo = expect(value, dict, f"{path}: {key}")
        name = expect(photo.get("filename"), str, f"{path}: {key}: filename")
        listed = photo.get("regions") or []
        if isinstance(listed, dict):  # version 1
            listed = list(listed.values())
        regions = []
        for count, region in enumerate(expect(listed, list, f"{path}: {name}: regions"), 1):
            where = f"{path}: {name}: region {count}"
            given = expect(region, dict, where)
            regions.append(Region(where, given.get("shape_attributes"), given.get("region_attributes")))
        yield _Photo(name, _bytes(photo.get("size")), regions)


def _photos_of_table(path: Path) -> Iterator[_Photo]:
    """The photos of a table, each with the regions of all its rows."""
    photos: dict[tuple[str, str], _Photo] = {}
    try:
        reader = csv.reader(io.StringIO(read_text(path).lstrip("#"), newline=""))
        header = [cell.strip() for cell in next(reader, [])]
        rows = [(reader.line_num, cells) for cells in reader if any(cells)]
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV table ({error})") from None
    missing = [column for column in _COLUMNS if column not in header]
    if missing:
        raise ValueError(f"{path}: no column {missing[0]}; expected a table of VIA")
    for line, cells in rows:
        if len(cells) != len(header):
            raise ValueError(f"{path}: line {line} has {len(cells)} columns, expected {len(header)}")
        name, size, shape, attributes = (cells[header.index(column)] for column in _COLUMNS)
        photo = photos.setdefault((name, size), _Photo(name, _bytes(size)))
        if shape.strip() not in ("", "{}"):
            photo.regions.append(Region(f"{path}: line {line}", _parsed(shape), _parsed(attributes)))
    yield from photos.values()


def _parsed(cell: str) -> Any:
    """The json of a cell; its text if it is no json, which is reported when the region is read."""
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _bytes(size: Any) -> int | None:
    """The size of a file; None if there is none, as of photos on the web (-1)."""
    text = str(size)
    return int(text) if text.isdecimal() and len(text) < 16 else None
