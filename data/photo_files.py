"""Photo files: the formats that are read, and their headers. The only place where pictures are opened."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import IO

from PIL import Image, TiffImagePlugin

FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "MPO": (".mpo",),
    "HEIF": (".heic", ".heif", ".hif"),
    "AVIF": (".avif",),
    "GIF": (".gif",),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "QOI": (".qoi",),
    "SGI": (".sgi",),
    "PCX": (".pcx",),
    "TGA": (".tga",),
}
"""Formats that are read, by Pillow's names, and the suffixes of their files. Where several files have the same stem,
the first of these suffixes is preferred. Pillow decodes more formats, some of them (EPS) by starting other programs,
which is unsafe for files from others. HEIF needs pillow-heif."""

SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)

ORIENTATION = 0x0112  # EXIF tag
_WIDTH, _HEIGHT = 256, 257  # tags of TIFF
_SWAPS_SIDES = (5, 6, 7, 8)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")

_warnings_lock = threading.Lock()  # warnings.catch_warnings is not thread-safe


class UnknownFormat(ValueError):
    """A file that is no photo in one of the formats that are read."""


class MissingDecoder(UnknownFormat):
    """A photo in a format that an optional package decodes."""


class TooManyPixels(ValueError):
    """A header that states more pixels than Pillow accepts."""


@dataclass(frozen=True, eq=False)
class PhotoFile:
    """A photo whose header is read and whose pixels are not decoded yet.

    Attributes:
        picture: Pillow's picture.
        name: name of the file, for messages.
        stored: (H, W) of the pixels as they are stored.
    """

    picture: Image.Image
    name: str
    stored: tuple[int, int]

    @cached_property
    def orientation(self) -> int:
        """EXIF orientation, 1 to 8; 1 if it is missing or unreadable. Pillow decodes a PNG file to find it."""
        with _quiet():
            try:
                found = int(self.picture.getexif().get(ORIENTATION, 1))
            except Exception:  # the pixels can be used without the metadata
                return 1
        return found if 1 <= found <= 8 else 1

    @property
    def upright(self) -> tuple[int, int]:
        """(H, W) as viewers show the photo, with the EXIF orientation applied."""
        return self.stored[::-1] if self.orientation in _SWAPS_SIDES else self.stored

    def orientation_for(self, size: tuple[int, int] | None) -> int:
        """Return the orientation to apply to the stored pixels, 1 for none.

        Args:
            size: (H, W) that an annotation states, or None. The photo is turned upright, unless only the size of the
                stored pixels agrees with the annotation.

        Raises:
            ValueError: neither size agrees.
        """
        if size is None or tuple(size) == self.upright:
            return self.orientation
        if tuple(size) == self.stored:
            return 1
        raise ValueError(
            f"{self.name}: the image is {self.stored[1]} x {self.stored[0]} pixels, its annotation says "
            f"{size[1]} x {size[0]} (width x height); correct one of them"
        )


@cache
def formats() -> tuple[str, ...]:
    """Return those of `FORMATS` that this installation decodes."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def open_photo(file: IO[bytes], name: str) -> PhotoFile:
    """Read the header of a photo.

    Args:
        file: the open file; it must stay open until the pixels are decoded.
        name: name of the file, for messages.

    Raises:
        UnknownFormat: the file is no photo, or of a format that this installation does not decode.
        TooManyPixels: the header states more pixels than Pillow accepts.
        ValueError: the file is damaged.
    """
    with _quiet():
        try:
            picture = Image.open(file, formats=formats())
        except Image.DecompressionBombError as error:
            raise TooManyPixels(f"{name}: {one_line(error)}; resize the file") from None
        except Image.UnidentifiedImageError:
            raise _unknown(file, name) from None
        except Exception as error:  # decoders raise many kinds of errors on damaged data
            raise ValueError(f"{name}: damaged image ({one_line(error)}); replace the file") from error
    return PhotoFile(picture, name, _stored_size(picture))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide warnings: Pillow warns about large images and unusual metadata."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _stored_size(picture: Image.Image) -> tuple[int, int]:
    """Return (H, W) before any rotation; Pillow states the size of a TIFF picture after its own rotation."""
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return int(picture.tag_v2[_HEIGHT]), int(picture.tag_v2[_WIDTH])
    return picture.height, picture.width


def _unknown(file: IO[bytes], name: str) -> UnknownFormat:
    """Return the error of a file that no decoder accepts."""
    file.seek(0)
    header = file.read(12)
    if "HEIF" not in formats() and header[4:8] == b"ftyp" and header[8:] in _HEIF_BRANDS:
        return MissingDecoder(f"{name}: HEIC photos need pillow-heif; pip install 'sppnet[heif]', or convert to JPEG")
    return UnknownFormat(f"{name}: not an image that Pillow can decode; convert it to JPEG or PNG")


def one_line(error: BaseException) -> str:
    """Return the text of an error as one line; the name of its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _renew_lock() -> None:
    """Replace the lock in a forked process, where no thread is left to release it."""
    global _warnings_lock
    _warnings_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
