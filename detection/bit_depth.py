"""Photos with more than 8 bits per value: which value is white, and their conversion to 8 bits.

Microscopes, X-ray machines and thermal cameras store 10, 12 or 14 bits in files of 16. Unless the file declares how
many it uses, white is the end of the smallest of these ranges that holds all its values.
"""

from __future__ import annotations

import logging
import re
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

log = logging.getLogger(__name__)

RANGES = (8, 10, 12, 14, 16)  # bits
_BITS_PER_SAMPLE = 258  # tag of TIFF
_WIDE_COLOURS = ("PNG", "TIFF", "JPEG2000", "PPM")  # formats with 16-bit colours, of which Pillow keeps the upper 8
_DARK = 64  # largest upper byte, rounded up, of values of 14 bits
_PRECISION = re.compile(rb"\xff\x4f\xff\x51.{38}(.)", re.DOTALL)  # JPEG 2000: bits of the first component, less one
_told: set[int] = set()


class UnknownRange(ValueError):
    """Pixels without a known value of white."""


def declared_bits(picture: Image.Image, file: IO[bytes]) -> int | None:
    """Return the bits of a picture's values if its file declares fewer than 16.

    Args:
        picture: the picture, not yet decoded.
        file: its open file.

    Returns:
        8 to 15; 16 if Pillow scales the values to 16 bits by what the file declares; None if it declares nothing else
        than the 16 bits of its format.
    """
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        bits = max(picture.tag_v2.get(_BITS_PER_SAMPLE, (16,)))
        return bits if bits < 16 else None
    if picture.format == "JPEG2000":
        found = _PRECISION.search(content(file))
        return 16 if found and (found[1][0] & 0x7F) + 1 < 16 else None
    if picture.format == "PPM" and picture.tile:  # type: ignore[attr-defined]
        options = picture.tile[0][3]  # type: ignore[attr-defined]  # "I;16B", or mode and largest value
        return 16 if isinstance(options, tuple) and options[-1] != 65535 else None
    return None


def of_values(picture: Image.Image, name: str, bits: int | None = None) -> Image.Image:
    """Convert a decoded picture of integers (Pillow's modes I and I;16) or floating-point values (F) to 8 bits.

    Floating-point values in [0, 1] are scaled; whole numbers are treated as integers.

    Args:
        picture: the picture.
        name: name of its file, for messages.
        bits: of its values; None: the smallest range that holds them.

    Returns:
        a grey picture.

    Raises:
        UnknownRange: values are below 0 or above 65535, or neither in [0, 1] nor whole numbers.
    """
    values = np.asarray(picture)
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if values.dtype.kind == "f":
        if low >= 0 and high <= 1:
            return Image.fromarray((values * 255).round().astype(np.uint8))
        if not np.isfinite(values).all() or (values != values.round()).any():
            raise UnknownRange(f"{name}: floating-point pixels of unknown range; save it with 8 or 16 bits")
    if low < 0 or high > 65535:
        raise UnknownRange(f"{name}: 32-bit pixels of unknown range; save it with 8 or 16 bits")
    return Image.fromarray(_upper_byte(values.astype(np.uint16), bits, name))


def of_colours(picture: Image.Image, name: str, file: IO[bytes]) -> Image.Image:
    """Return a decoded colour picture with the bits that its 16-bit values use.

    Pillow keeps the upper byte of 16-bit colours, which is nearly black where the values use fewer bits. Only such
    pictures are decoded once more.

    Args:
        picture: the picture, decoded by Pillow.
        name: name of its file, for messages.
        file: its open file.

    Returns:
        a picture in mode RGB or RGBA, or the same picture.
    """
    if picture.format not in _WIDE_COLOURS or picture.mode not in ("RGB", "RGBA", "LA"):
        return picture
    if np.asarray(picture)[..., : 1 if picture.mode == "LA" else 3].max(initial=0) > _DARK:
        return picture
    upper = np.asarray(picture.convert("RGBA"))[..., :3]
    wide: NDArray[Any] | None = cv2.imdecode(np.frombuffer(content(file), np.uint8), cv2.IMREAD_UNCHANGED)
    if wide is None or wide.dtype != np.uint16 or wide.ndim != 3 or wide.shape[:2] != upper.shape[:2]:
        return picture
    colours, alpha = wide[..., 2::-1], wide[..., 3:]  # from blue, green, red
    if np.abs((colours >> 8).astype(np.int16) - upper).max() > 1:  # another rotation or colour space
        return picture
    parts = [_upper_byte(colours, None, name)]
    if alpha.size:
        parts.append(_upper_byte(alpha, None, name))
    return Image.fromarray(np.concatenate(parts, axis=2))


def content(file: IO[bytes]) -> bytes:
    """Read a file from its start, and keep the position that Pillow relies on."""
    position = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(position)
    return data


def _upper_byte(values: NDArray[np.uint16], bits: int | None, name: str) -> NDArray[np.uint8]:
    """Return the upper 8 bits of values of `bits` bits; None: of the smallest range that holds them."""
    if bits is None:
        bits = next(n for n in RANGES if int(values.max(initial=0)) < 1 << n)
        if bits < 16 and bits not in _told:
            _told.add(bits)
            log.warning(
                "%s: 16-bit file whose values use %d bits; files of this kind are scaled by that range", name, bits
            )
    return (values >> (bits - 8)).astype(np.uint8)
