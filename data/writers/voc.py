"""Writer of Pascal VOC: a folder laid out like one year of the devkit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from xml.etree import ElementTree

from data.annotation import plain
from data.records import Dataset, ImageRecord
from data.writers.checks import class_names, corners_of
from data.writers.photos import Photos, file_names

DIFFICULT = True
"""Whether the format has a flag for difficult objects."""


def write(folder: Path, datasets: Mapping[str, Dataset], photos: Photos) -> None:
    """Write Annotations, JPEGImages, and one list per split in ImageSets/Main. Corners are counted from 1.

    Args:
        folder: an empty folder.
        datasets: split name -> its images.
        photos: puts the photos there.

    Raises:
        ValueError: VOC cannot hold a name, or a photo has different labels in two splits.
        OSError: a photo cannot be read, or a file cannot be written.
    """
    class_names(datasets)
    _check_lists(datasets)
    names = file_names(datasets)
    for place in ("Annotations", "ImageSets/Main"):
        (folder / place).mkdir(parents=True)
    written: dict[Path, bytes] = {}
    for split, dataset in datasets.items():
        for record in dataset:
            name = names[record.path]
            _check_id(record.path, Path(name).stem)
            text = _annotation(name, record, dataset.classes)
            if written.setdefault(record.path, text) != text:
                raise ValueError(f"{record.path}: has other labels in {split} than in another split; VOC holds one set")
            annotation = folder / "Annotations" / f"{Path(name).stem}.xml"
            if not annotation.exists():
                annotation.write_bytes(text)
                photos.put(record.path, folder / "JPEGImages" / name)
        ids = [Path(names[record.path]).stem for record in dataset]
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{i}\n" for i in ids), "utf-8")


def _check_lists(splits: Mapping[str, Dataset]) -> None:
    """Raise ValueError if a list would be taken for that of a single class, as cat_train beside train."""
    for split in splits:
        other = next((name for name in splits if split.endswith(f"_{name}")), None)
        if other:
            raise ValueError(f"split {split!r}: VOC's readers take it for a class in the split {other!r}; rename it")


def _check_id(photo: Path, stem: str) -> None:
    """Raise ValueError if a name cannot stand in a list and be a file on any system."""
    if PureWindowsPath(stem).name != stem or not stem.isprintable():
        raise ValueError(f"{photo}: VOC cannot hold the name {stem!r}; rename the photo")


def _annotation(name: str, record: ImageRecord, classes: tuple[str, ...]) -> bytes:
    """The annotation of a photo, with the devkit's elements in the devkit's order."""
    root = ElementTree.Element("annotation")
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", name)
    size = _add(root, "size")
    for tag, value in (("width", record.size[1]), ("height", record.size[0]), ("depth", 3)):
        _add(size, tag, value)
    _add(root, "segmented", 0)
    columns = (corners_of(record), record.labels.tolist(), record.difficult.tolist())
    for corners, label, difficult in zip(*columns, strict=True):
        thing = _add(root, "object")
        for tag, text in (("name", classes[label]), ("pose", "Unspecified"), ("truncated", 0)):
            _add(thing, tag, text)
        _add(thing, "difficult", int(difficult))
        box = _add(thing, "bndbox")
        for tag, corner in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
            _add(box, tag, plain(round(corner + 1, 4)))
    ElementTree.indent(root, "\t")
    return ElementTree.tostring(root, "utf-8") + b"\n"


def _add(parent: ElementTree.Element, tag: str, text: object = None) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, tag)
    element.text = None if text is None else str(text)
    return element
