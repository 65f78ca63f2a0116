"""Uploaded photos: size limits, checks and decoding."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data import photo_files
from detection.image import read
from sppnet.errors import one_line
from sppnet.server.errors import RequestRefused

NAME = "photo"  # of the temporary file of an upload


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
        RequestRefused: the file is empty, damaged or not a photo, or the photo is too large.
    """
    if not data:
        raise RequestRefused(422, "the photo is empty (0 bytes); send an image file")
    height, width = _stored_size(data)
    if width * height > limits.megapixels * 1_000_000:
        allowed = f"at most {limits.megapixels} megapixels are accepted"
        raise RequestRefused(413, f"the photo has {width} x {height} pixels, {allowed}; resize it")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        path.write_bytes(data)
        try:
            return read(path)
        except ValueError as error:
            raise _refusal(422, error, str(path)) from error
        except MemoryError as error:
            raise RequestRefused(413, "the photo needs more memory than there is; resize it") from error


def load_decoders() -> None:
    """Load the decoders now rather than with the first photo."""
    photo_files.formats()


def _stored_size(data: bytes) -> tuple[int, int]:
    """(H, W) as the header says, before any rotation."""
    try:
        return photo_files.open_photo(io.BytesIO(data), NAME).stored
    except photo_files.TooManyPixels as error:
        raise _refusal(413, error) from error
    except photo_files.MissingDecoder as error:
        raise _refusal(415, error) from error
    except photo_files.UnknownFormat:
        known = ", ".join(photo_files.formats())
        raise RequestRefused(415, f"the file is not a photo in a known format ({known})") from None
    except ValueError as error:
        raise _refusal(422, error) from error


def _refusal(status: int, error: ValueError, name: str = NAME) -> RequestRefused:
    """The refusal for an error whose message begins with the name of the file."""
    return RequestRefused(status, one_line(error).removeprefix(f"{name}: "))
