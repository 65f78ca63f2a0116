"""Uploaded photos: size limits, checks and decoding."""

from __future__ import annotations

import io
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detection.image import read
from sppnet.errors import one_line
from sppnet.server.errors import RequestRefused

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "PPM")
"""Accepted formats. Pillow decodes more, some of them (EPS) by starting other programs, which is unsafe for uploads."""
MAX_ELONGATION = 20
"""Longest over shortest side. The short side is resized to about 688 pixels, so a thin strip would fill the memory."""


@dataclass(frozen=True)
class UploadLimits:
    """Largest photo that is accepted.

    Attributes:
        megabytes: size of the file, in millions of bytes.
        megapixels: size of the photo, in millions of pixels.
    """

    megabytes: int
    megapixels: int

    @property
    def file_bytes(self) -> int:
        """Size of the file in bytes."""
        return self.megabytes * 1_000_000

    def too_large(self) -> RequestRefused:
        """The refusal of a file above the limit."""
        return RequestRefused(413, f"the photo has more than {self.megabytes} MB; resize it")


def decode(data: bytes, limits: UploadLimits) -> NDArray[np.uint8]:
    """Decode a photo; its header is checked before its pixels are decoded.

    Args:
        data: content of the file.
        limits: largest photo.

    Returns:
        uint8 RGB (H, W, 3), rotated as its EXIF tag says.

    Raises:
        RequestRefused: the file is empty, damaged or not a photo, or the photo is too large or too thin.
    """
    if not data:
        raise RequestRefused(422, "the photo is empty (0 bytes); send an image file")
    width, height = _header_size(data)
    if width * height > limits.megapixels * 1_000_000:
        allowed = f"at most {limits.megapixels} megapixels are accepted"
        raise RequestRefused(413, f"the photo has {width} x {height} pixels, {allowed}; resize it")
    if max(width, height) > MAX_ELONGATION * min(width, height):
        allowed = f"one side may be at most {MAX_ELONGATION} times the other"
        raise RequestRefused(422, f"the photo has {width} x {height} pixels, {allowed}; crop it")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo"
        path.write_bytes(data)
        try:
            return read(path)
        except ValueError as error:
            raise RequestRefused(422, one_line(error).removeprefix(f"{path}: ")) from error


def load_decoders() -> None:
    """Load Pillow's decoders now rather than with the first photo."""
    Image.init()


def _header_size(data: bytes) -> tuple[int, int]:
    """(width, height) as the header says."""
    load_decoders()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit on pixels, odd metadata
            with Image.open(io.BytesIO(data), formats=formats) as picture:
                return picture.size
    except Image.DecompressionBombError as error:
        raise RequestRefused(413, f"{one_line(error)}; resize it") from error
    except Image.UnidentifiedImageError:
        raise RequestRefused(415, f"the file is not a photo in a known format ({', '.join(formats)})") from None
    except Exception as error:  # decoders raise nearly anything on damaged data
        raise RequestRefused(422, f"damaged image ({one_line(error)}); replace the file") from error
