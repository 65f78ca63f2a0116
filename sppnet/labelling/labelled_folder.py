"""What was labelled, as a data set on disk in VOC layout, which `sppnet train` reads like any other.

JPEGImages/<id>.jpg          every photo that was fetched
Annotations/<id>.xml         the objects of the labelled ones
ImageSets/Main/labelled.txt  ids of the labelled ones, in the order in which they were labelled first
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from data import voc
from data.files import IMAGE_SUFFIXES
from data.names import listed
from data.photo_files import FORMATS
from data.records import ImageRecord
from data.voc_xml import read_annotation
from detection.files import MARK, write_atomically
from sppnet.labelling.regions import LabelledBoxes
from sppnet.progress import log

LIST = "labelled"
PHOTOS, ANNOTATIONS, LISTS = "JPEGImages", "Annotations", "ImageSets/Main"


class LabelledFolder:
    """The photos of a project and the annotations of the labelled ones.

    Args:
        root: folder of the data set; created if absent.

    Attributes:
        ids: the labelled photos, in the order in which they were labelled first.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in (PHOTOS, ANNOTATIONS, LISTS):
            (root / name).mkdir(parents=True, exist_ok=True)
        self.ids: list[str] = []
        self._read_list()

    @property
    def _list(self) -> Path:
        return self.root / LISTS / f"{LIST}.txt"

    def _read_list(self) -> None:
        """Take the ids in the list that have an annotation; others, as of a damaged list, leave it with a warning."""
        if not self._list.is_file():
            return
        found = self._list.read_text("utf-8", "replace").split()
        there = {path.stem for path in (self.root / ANNOTATIONS).glob("*.xml")}
        self.ids = [i for i in dict.fromkeys(found) if i in there]
        if len(self.ids) < len(found):
            strange = [i for i in found if i not in there]
            log.warning("%s: left out %d photos without annotation: %s", self._list, len(strange), listed(strange, 3))
            self._write_list()

    def photo(self, image_id: str) -> Path | None:
        """Return the file of a photo; None if it was not fetched."""
        files = (self.root / PHOTOS / f"{image_id}{suffix}" for suffix in IMAGE_SUFFIXES)
        return next((path for path in files if path.is_file()), None)

    def add_photo(self, image_id: str, data: bytes, kind: str) -> Path:
        """Write the file of a photo.

        Args:
            image_id: its name in the data set.
            data: content of the file.
            kind: format, a name of `data.photo_files.FORMATS`.
        """
        path = self.root / PHOTOS / f"{image_id}{FORMATS[kind][0]}"
        write_atomically(path, [data])
        return path

    def label(self, image_id: str, objects: LabelledBoxes, size: tuple[int, int]) -> None:
        """Write the objects of a photo in place of earlier ones.

        Args:
            image_id: a photo that was added.
            objects: boxes and names.
            size: (H, W) of the photo in pixels, turned as its viewers turn it.
        """
        photo = self.photo(image_id)
        assert photo is not None
        write_atomically(self._annotation(image_id), [_annotation_of(photo.name, objects, size)])
        if image_id not in self.ids:
            self.ids.append(image_id)
            self._write_list()

    def remove_label(self, image_id: str) -> None:
        """Take a photo out of the labelled ones, if it is one; its file stays."""
        if image_id in self.ids:
            self.ids.remove(image_id)
            self._write_list()
            self._annotation(image_id).unlink(missing_ok=True)

    def record(self, image_id: str, classes: Sequence[str]) -> ImageRecord:
        """Read one labelled photo as `sppnet train` does.

        Args:
            image_id: a labelled photo.
            classes: names of all classes in label order.
        """
        photo = self.photo(image_id)
        assert photo is not None
        found = read_annotation(self._annotation(image_id), photo)
        labels = np.array([classes.index(name) for name in found.names], np.int64)
        return ImageRecord(image_id, photo, found.size, found.boxes.astype(np.float32), labels, found.difficult)

    def records(self, classes: Sequence[str]) -> list[ImageRecord]:
        """Read all labelled photos, in order; unusable ones are left out with a warning."""
        if not self.ids:
            return []
        return list(voc.load(self.root, split=LIST, classes=classes, skip_bad=True))

    def _annotation(self, image_id: str) -> Path:
        return self.root / ANNOTATIONS / f"{image_id}.xml"

    def _write_list(self) -> None:
        write_atomically(self._list, ["".join(f"{i}\n" for i in self.ids).encode()])


def _annotation_of(file_name: str, objects: LabelledBoxes, size: tuple[int, int]) -> bytes:
    """Return the XML of an annotation with the devkit's elements; pixels are counted from 1."""
    root = Element("annotation")
    _add(root, "filename", file_name)
    _add(_add(root, "source"), "database", MARK)
    about = _add(root, "size")
    for name, value in zip(("width", "height", "depth"), (size[1], size[0], 3), strict=True):
        _add(about, name, value)
    for box, label in zip(objects.boxes, objects.labels, strict=True):
        thing = _add(root, "object")
        _add(thing, "name", label)
        _add(thing, "difficult", 0)
        corners = _add(thing, "bndbox")
        for name, corner in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            _add(corners, name, f"{corner + 1:.2f}")
    ElementTree.indent(root)
    return ElementTree.tostring(root, "utf-8") + b"\n"


def _add(parent: Element, name: str, text: object = None) -> Element:
    element = ElementTree.SubElement(parent, name)
    if text is not None:
        element.text = str(text)
    return element
