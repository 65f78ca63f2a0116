"""Reader of a VOC annotation file, which checks every value."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from data.annotation import Annotation, Objects, number, plain


def read_annotation(path: Path) -> Annotation:
    """Read and check one annotation file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not XML, has no image size, an object without a name or box, or a value that is not a
            finite number. The message names the file and the object.
    """
    try:
        root = parse(path).getroot()
    except (ParseError, DefusedXmlException, LookupError) as error:  # LookupError: unknown encoding
        raise ValueError(f"{path}: not a readable annotation ({' '.join(str(error).split())})") from None
    objects = Objects(path, _size(root, path))
    for count, element in enumerate(root.findall("object"), 1):
        where = f"{path}: object {count}"
        name = _text(element, "name")
        if not name:
            raise ValueError(f"{where} has no <name>")
        where = f"{where} ({name})"
        raw = _box(element, where)
        objects.add(name, [v - 1 for v in raw], raw, _flag(element, "difficult", where))
    return objects.annotation()


def _size(root: Element, path: Path) -> tuple[int, int]:
    element = root.find("size")
    if element is None:
        raise ValueError(f"{path}: no <size>; expected <size> with <width> and <height> in pixels")
    height, width = (_number(element, tag, f"{path}: <size>") for tag in ("height", "width"))
    if height < 1 or width < 1 or height % 1 or width % 1:
        got = f"{plain(width)}x{plain(height)}"
        raise ValueError(f"{path}: <size> is {got}, expected whole numbers of pixels of at least 1")
    return int(height), int(width)


def _box(element: Element, where: str) -> list[float]:
    """Read xmin, ymin, xmax, ymax as written in the file."""
    box = element.find("bndbox")
    if box is None:
        raise ValueError(f"{where} has no <bndbox>")
    return [_number(box, tag, where) for tag in ("xmin", "ymin", "xmax", "ymax")]


def _number(element: Element, tag: str, where: str) -> float:
    text = _text(element, tag)
    if text is None:
        raise ValueError(f"{where} has no <{tag}>")
    return number(text, f"{where}: <{tag}>")


def _flag(element: Element, tag: str, where: str) -> bool:
    """Read a flag, 0 or 1; a missing or empty element means 0."""
    text = _text(element, tag) or "0"
    if text not in ("0", "1"):
        raise ValueError(f"{where}: <{tag}> is {text!r}, expected 0 or 1")
    return text == "1"


def _text(element: Element, tag: str) -> str | None:
    text = element.findtext(tag)
    return None if text is None else text.strip()
