"""Scans of a JPEG file: how often its decoder passes over the pixels.

A progressive file refines the photo scan by scan. A scan that changes nothing takes 100 bytes and as long as any other,
so that a small file can keep a decoder busy for minutes; libjpeg sets no limit.
"""

from __future__ import annotations

import re

_END, _SCAN = 0xD9, 0xDA
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")  # those without a segment are skipped, and so are stuffed bytes


def count_scans(data: bytes) -> int:
    """Count the scans of a JPEG file as libjpeg finds them: markers within metadata and after the end do not count.

    Args:
        data: content of the file.
    """
    scans, position = 0, 0
    while marker := _MARKER.search(data, position):
        kind = marker[1][0]
        if kind == _END:
            break
        scans += kind == _SCAN
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")  # length of the segment
    return scans
