"""Reader of a VOC annotation file, which checks every value."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from data.annotation import FRACTIONS, Annotation, Objects, number, plain
from data.files import image_size
from data.units import Unit, check_unit, common_unit, to_pixels

_COMMENT, _ROOT = re.compile(rb"<!--.*?-->", re.DOTALL), re.compile(rb"<\s*annotation[\s>/]", re.IGNORECASE)
_HEAD = 4096  # bytes that hold the root element
_DECLARED = re.compile(rb"""\A(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)["']""")
_PARSERS_OWN = ("utf-8", "utf8", "utf-16", "us-ascii", "iso-8859-1")  # encodings that expat decodes itself
_WIDER = {"gbk": "gb18030", "gb2312": "gb18030", "euc-kr": "cp949", "shift_jis": "cp932"}
"""What is declared -> what Windows writes under that name, which contains it."""


def is_annotation(path: Path) -> bool:
    """Whether the root of an XML file is an annotation, by the first lines; false for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD).replace(b"\0", b"")  # of UTF-16
    except OSError:
        return False
    return _ROOT.search(_COMMENT.sub(b"", head)) is not None


def read_annotation(path: Path, photo: Path) -> Annotation:
    """Read and check one annotation file.

    Args:
        path: the file.
        photo: its photo, for the size if the file does not state it.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not XML, has an object without a name or box, a value that is not a finite number, or
            boxes in pixels and others in fractions. The message names the file and the object.
    """
    root = read_xml(path)
    size = _size(root, path) or image_size(photo)
    objects, elements = Objects(path, size), root.findall("object")
    found = [_object(element, f"{path}: object {count}") for count, element in enumerate(elements, 1)]
    unit = common_unit(raw for _, raw in found)
    for count, (element, (name, raw)) in enumerate(zip(elements, found, strict=True), 1):
        check_unit(raw, unit, f"{path}: object {count} ({name})")
        if unit is Unit.FRACTIONS:
            objects.note(FRACTIONS, f"object {count} ({name})")
        corners = objects.ordered(name, raw)
        box = to_pixels(corners, size) if unit is Unit.FRACTIONS else [v - 1 for v in corners]
        objects.add(name, box, raw, objects.flag(_text(element, "difficult") or "", "difficult"))
    return objects.annotation()


def read_xml(path: Path) -> Element:
    """Read a file's root element.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not XML, or something else than an annotation.
    """
    try:
        root: Element = fromstring(_decoded(path.read_bytes()))
    except (ParseError, DefusedXmlException, LookupError, ValueError) as error:  # LookupError: unknown encoding
        raise ValueError(f"{path}: not a readable annotation ({' '.join(str(error).split())})") from None
    if root.tag.lower() != "annotation":
        raise ValueError(f"{path}: not a readable annotation (its root is <{root.tag}>, expected <annotation>)")
    return root


def _decoded(content: bytes) -> bytes | str:
    """Decode a file whose declared encoding the parser does not know.

    Files in UTF-8 declare another encoding at times. Text of two-byte encodings can pass for UTF-8, but hardly with
    characters of three bytes, as those of Chinese, Japanese and Korean are in UTF-8.
    """
    declared = _DECLARED.match(content)
    encoding = declared[1].decode("ascii").lower() if declared else ""
    if encoding in ("", *_PARSERS_OWN):
        return content
    try:
        text = content.decode("utf-8-sig")
        if max(text) > "\u07ff":
            return text
    except UnicodeDecodeError:
        pass
    return content.decode(_WIDER.get(encoding, encoding))


def _object(element: Element, where: str) -> tuple[str, list[float]]:
    """Read the class name of an object, and xmin, ymin, xmax, ymax as written in the file."""
    name = _text(element, "name")
    if not name:
        raise ValueError(f"{where} has no <name>")
    return name, _box(element, f"{where} ({name})")


def _size(root: Element, path: Path) -> tuple[int, int] | None:
    """Read (H, W); None if a side is missing or zero."""
    height, width = (_side(root, tag, path) for tag in ("height", "width"))
    if not height or not width:
        return None
    if height < 1 or width < 1 or height % 1 or width % 1:
        got = f"{plain(width)}x{plain(height)}"
        raise ValueError(f"{path}: <size> is {got}, expected whole numbers of pixels of at least 1")
    return int(height), int(width)


def _side(root: Element, tag: str, path: Path) -> float:
    return number(_text(root, f"size/{tag}") or 0, f"{path}: <size>: <{tag}>")


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


def _text(element: Element, tag: str) -> str | None:
    text = element.findtext(tag)
    return None if text is None else text.strip()
