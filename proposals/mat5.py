"""Reader of MATLAB files of version 5 to 7: numbers, text, and cell arrays of these.

Compiled readers can crash on damaged files. This one checks every length before using it, so that the worst outcome is
a ValueError.

Source: MathWorks, "MAT-File Format", the level 5 format.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = 128  # bytes: 116 of text, 8 not used here, 2 of version, 2 of byte order
VERSION = 0x0100
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15  # data types other than numbers and text
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _CHAR = 1, 4  # array classes
_NUMERIC = range(6, 16)  # double, single and the integers
_OTHERS = {2: "struct", 3: "object", 5: "sparse matrix", 16: "function", 17: "object"}
_COMPLEX = 0x0800  # array flag


@dataclass(frozen=True, eq=False)
class Text:
    """A char array: one string per row."""

    rows: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell array, column by column."""

    items: tuple[Value, ...]


@dataclass(frozen=True)
class Other:
    """A value that is not read: a structure, object, function or nested cell array."""

    kind: str


Value = NDArray[Any] | Text | Cell | Other


@dataclass(frozen=True, eq=False)
class _Bytes:
    """A section of a file: its bytes, and their byte order, "<" or ">"."""

    data: memoryview
    order: str

    def take(self, start: int, length: int) -> _Bytes:
        if start + length > len(self.data):
            raise ValueError(f"{start + length - len(self.data)} bytes are missing")
        return _Bytes(self.data[start : start + length], self.order)

    def numbers(self, kind: str) -> NDArray[Any]:
        dtype = np.dtype(self.order + kind)
        if len(self.data) % dtype.itemsize:
            raise ValueError(f"{len(self.data)} bytes are not a multiple of {dtype.itemsize}")
        return np.frombuffer(self.data, dtype)


def read(file: bytes, wanted: Collection[str]) -> dict[str, Value]:
    """Read variables of a file.

    Args:
        file: content of the file.
        wanted: names of the variables to read; missing ones are skipped.

    Returns:
        name -> numeric array with the type and shape stored in the file; or a `Text`, a `Cell` or `Other`.

    Raises:
        ValueError: the file is truncated, damaged or of another format.
    """
    order = {b"IM": "<", b"MI": ">"}.get(file[126:HEADER])
    if order is None or struct.unpack(f"{order}H", file[124:126])[0] != VERSION:
        raise ValueError("the header is not that of a MATLAB 5 file")
    rest = _Bytes(memoryview(file), order).take(HEADER, len(file) - HEADER)
    variables: dict[str, Value] = {}
    position = 0
    while position < len(rest.data):
        kind, content, position = _element(rest, position)
        if kind == _COMPRESSED:
            kind, content, _ = _element(_inflate(content), 0)
        if kind == _MATRIX:
            name, value = _array(content, wanted)
            if name in wanted:
                variables[name] = value
    return variables


def _element(piece: _Bytes, position: int) -> tuple[int, _Bytes, int]:
    """Read the data element at a position: its type, its content, and the position of the next element."""
    first = int(piece.take(position, 4).numbers("u4")[0])
    if first >> 16:  # up to four bytes are stored within the tag
        if first >> 16 > 4:
            raise ValueError(f"a short element of {first >> 16} bytes, expected at most 4")
        return first & 0xFFFF, piece.take(position + 4, first >> 16), position + 8
    length = int(piece.take(position + 4, 4).numbers("u4")[0])
    padding = 0 if first == _COMPRESSED else -length % 8
    return first, piece.take(position + 8, length), position + 8 + length + padding


def _inflate(content: _Bytes) -> _Bytes:
    """Decompress an element and verify its length and checksum."""
    stream = zlib.decompressobj()
    try:
        tag = stream.decompress(content.data, 8)
        length = int(_Bytes(memoryview(tag), content.order).take(4, 4).numbers("u4")[0])
        body = stream.decompress(stream.unconsumed_tail, length) if length else b""
        end = stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(body) < length or end or not stream.eof:
        raise ValueError("a compressed variable does not have the stated length")
    return _Bytes(memoryview(tag + body), content.order)


def _array(content: _Bytes, wanted: Collection[str] | None) -> tuple[str, Value]:
    """Read the name and value of an array; `wanted` is None within a cell array, where further cells are not read."""
    if not len(content.data):
        return "", np.empty((0, 0))  # an empty item of a cell array
    _, flags, position = _element(content, 0)
    _, dimensions, position = _element(content, position)
    _, name_bytes, position = _element(content, position)
    name = bytes(name_bytes.data).decode("latin-1")
    if wanted is not None and name not in wanted:
        return name, Other("skipped variable")
    flag = int(flags.take(0, 4).numbers("u4")[0])
    kind, shape = flag & 0xFF, tuple(map(int, dimensions.numbers("i4")))
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"{name or 'an item'} has dimensions {shape}")
    if kind == _CELL:
        return name, Other("cell") if wanted is None else _cell(content, position, shape)
    if kind == _CHAR:
        return name, _text(content, position, shape)
    if kind not in _NUMERIC or flag & _COMPLEX:
        return name, Other("complex matrix" if kind in _NUMERIC else _OTHERS.get(kind, f"array of class {kind}"))
    return name, _numbers(content, position, shape)


def _cell(content: _Bytes, position: int, shape: tuple[int, ...]) -> Cell:
    items = []
    for _ in range(_count(shape)):  # raises at the end of the data
        kind, item, position = _element(content, position)
        if kind != _MATRIX:
            raise ValueError(f"an item of a cell array has type {kind}")
        items.append(_array(item, None)[1])
    return Cell(tuple(items))


def _text(content: _Bytes, position: int, shape: tuple[int, ...]) -> Text:
    count = _count(shape)
    if not count:
        return Text(("",) * min(shape[0], 1))
    kind, codes, _ = _element(content, position)
    if kind not in _TEXTS:
        raise ValueError(f"a text has type {kind}")
    encoding = _TEXTS[kind]
    suffix = {"<": "-le", ">": "-be"}[content.order] if encoding in ("utf-16", "utf-32") else ""
    letters = bytes(codes.data).decode(encoding + suffix)  # UnicodeDecodeError is a ValueError
    if shape[0] == 1:
        return Text((letters,))
    if len(letters) != count:
        raise ValueError(f"{len(letters)} characters in a text with dimensions {shape}")
    return Text(tuple(letters[row :: shape[0]] for row in range(shape[0])))


def _numbers(content: _Bytes, position: int, shape: tuple[int, ...]) -> NDArray[Any]:
    kind, data, _ = _element(content, position)
    if kind not in _NUMBERS:
        raise ValueError(f"a matrix has type {kind}")
    numbers = data.numbers(_NUMBERS[kind])
    if len(numbers) != _count(shape):
        raise ValueError(f"{len(numbers)} numbers in a matrix with dimensions {shape}")
    return numbers.reshape(shape, order="F")


def _count(shape: tuple[int, ...]) -> int:
    """Return the product of the dimensions, in Python integers, which do not overflow."""
    count = 1
    for side in shape:
        count *= side
    return count
