"""JPEG photos whose compressed data a failing disk or a broken download has replaced by zeros.

JPEG has no checksums, and its decoder makes a picture of any bits. But hundreds of zero bytes in a row would be a
thousand coefficients without the end of a block between them, which no encoder writes, where the code of zeros stands
for a coefficient. It does in the tables of the standard, which cameras use, and in most tables that are made for a
detailed photo. In those made for plain areas, and in most scans of progressive files, it stands for the end of blocks,
and zeros may be a plain area.

WebP has no such rule: the last kilobyte of a page of 12 megapixels that is plain but for one corner is zeros.
"""

from __future__ import annotations

import re

LEAST = 512  # bytes, a sector of a disk

_ZEROS = bytes(LEAST)
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")  # those without a segment are skipped, and so are stuffed bytes
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # restarts and stuffed bytes are part of a scan
_TABLES, _END, _SCAN = 0xC4, 0xD9, 0xDA


def zeroed_jpeg(data: bytes) -> int | None:
    """Return where zeros begin in the compressed data of a JPEG file; None if there are none.

    Args:
        data: content of the file.
    """
    if _ZEROS not in data:
        return None
    codes: dict[int, int] = {}  # class and number of a Huffman table -> symbol of its code of zeros
    position = 0
    while marker := _MARKER.search(data, position):
        kind, start = marker[1][0], marker.end()
        if kind == _END:
            return None
        position = start + int.from_bytes(data[start : start + 2], "big")
        if kind == _TABLES:
            codes |= _codes_of_zeros(data[start + 2 : position])
        elif kind == _SCAN:
            header, after = data[start + 2 : position], _END_OF_SCAN.search(data, position)
            end = after.start() if after else len(data)
            at = data.find(_ZEROS, position, end)
            if at >= 0 and (_has_coefficients(header, codes) or (not after and data.endswith(_ZEROS))):
                return at
            position = end
    return None


def _codes_of_zeros(segment: bytes) -> dict[int, int]:
    """Return class and number of each Huffman table of a segment -> the symbol whose code is all zeros, its first."""
    found = {}
    while len(segment) > 17:
        found[segment[0]] = segment[17]
        segment = segment[17 + sum(segment[1:17]) :]
    return found


def _has_coefficients(header: bytes, codes: dict[int, int]) -> bool:
    """Whether zeros in a scan are coefficients of some component, rather than ends of blocks or refined bits."""
    count = header[0] if header else 0
    if len(header) < 4 + 2 * count:
        return False
    first, last, refined = header[1 + 2 * count], header[2 + 2 * count], header[3 + 2 * count] >> 4
    if last == 0 or (first and refined):
        return False
    tables = [0x10 | (header[2 + 2 * i] & 15) for i in range(count)]  # of AC coefficients
    return any(codes.get(table, 0) & 15 for table in tables)  # the low bits are the size of a coefficient; 0: none
