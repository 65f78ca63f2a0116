"""Writer of CVAT's XML, "CVAT for images 1.1": images and annotations.xml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from data.annotation import plain
from data.records import Dataset, ImageRecord, PredictedRecord
from data.writers.checks import check_upright, class_names, corners_of
from data.writers.photos import Photos, file_names

DIFFICULT = True
"""Whether the format has a flag for difficult objects."""

NAME = "annotations.xml"
_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_WITHOUT_SUBSET = {"all"}


def write(folder: Path, datasets: Mapping[str, Dataset], photos: Photos) -> None:
    """Write annotations.xml and the folder images. Splits are subsets; a single one called "all" is none.

    Boxes are edges in continuous pixels of the photo as viewers show it. The attribute "difficult" marks difficult
    objects; CVAT ignores it in tasks whose labels lack it.

    Args:
        folder: an empty folder.
        datasets: split name -> its images.
        photos: puts the photos there.

    Raises:
        ValueError: the name of a class or photo has characters that label files cannot hold, or the labels of a photo
            are not for the photo as viewers show it.
        OSError: a photo cannot be read, or a file cannot be written.
    """
    names, number = file_names(datasets), 0
    with (folder / NAME).open("wb") as file:
        file.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
        file.write(_text(_meta(class_names(datasets))))
        for split, dataset in datasets.items():
            for record in dataset:
                check_upright(record, "CVAT")
                image = _image(record, dataset.classes, number, names[record.path])
                if datasets.keys() != _WITHOUT_SUBSET:
                    image.set("subset", split)
                file.write(_text(image))
                number += 1
                if not (folder / "images" / names[record.path]).exists():  # in another split, too
                    photos.put(record.path, folder / "images" / names[record.path])
        file.write(b"</annotations>\n")


def _text(element: Element) -> bytes:
    indent(element, " ")
    return tostring(element, "utf-8", xml_declaration=False) + b"\n"


def _meta(classes: tuple[str, ...]) -> Element:
    """The labels of the task, which CVAT does not read but other programs do."""
    meta = Element("meta")
    labels = SubElement(SubElement(meta, "task"), "labels")
    for name in classes:
        SubElement(SubElement(labels, "label"), "name").text = name
    return meta


def _image(record: ImageRecord, classes: tuple[str, ...], number: int, name: str) -> Element:
    height, width = record.size
    image = Element("image", {"id": str(number), "name": name, "width": str(width), "height": str(height)})
    source = "auto" if isinstance(record, PredictedRecord) else "manual"
    for label, edges, difficult in _objects(record):
        place = dict(zip(_CORNERS, edges, strict=True))
        box = SubElement(image, "box", {"label": classes[label], "source": source, "occluded": "0", **place})
        box.set("z_order", "0")
        if difficult:
            SubElement(box, "attribute", {"name": "difficult"}).text = "true"
    return image


def _objects(record: ImageRecord) -> Iterator[tuple[int, list[str], bool]]:
    """Label, edges and flag of each object."""
    columns = (corners_of(record), record.labels.tolist(), record.difficult.tolist())
    for (x0, y0, x1, y1), label, difficult in zip(*columns, strict=True):
        yield label, [str(plain(round(v, 4))) for v in (x0, y0, x1 + 1, y1 + 1)], difficult
