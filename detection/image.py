"""Image decoding, resizing and preprocessing. Images are uint8 RGB (H, W, 3) in the whole project."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from data.photo_files import PhotoFile, one_line, open_photo
from detection import bit_depth, forks
from detection.jpeg_scans import count_scans
from detection.plain_values import Limits
from detection.storage import mounts
from detection.zeroed_data import zeroed_jpeg

if TYPE_CHECKING:  # proposals do not need torch, and start faster without it
    import torch

MAX_PIXELS = 178_000_000
"""Largest image to read or resize to. 108-megapixel photos are accepted; Pillow refuses more than 178,956,970."""

MAX_SCANNED_PIXELS = 4_000_000_000
"""Largest product of the pixels of a JPEG file and its scans, over each of which the decoder passes once.

Baseline files have one scan, progressive ones 10, or up to 18 from optimising encoders, which this admits in photos of
`MAX_PIXELS`. Scans that cost nearly no bytes took up to 0.73 ns per pixel (libjpeg-turbo 3.2, 7,000 x 8,000 pixels, one
core), so that all of them together take 3 s.
"""

MAX_ASPECT = 8
"""Longest over shortest side up to which images are resized to a short side; see `short_side_for`."""

Shift = Annotated[float, Limits(-1e6, 1e6)]
Factor = Annotated[float, Limits(1e-6, 1e6)]

_OF_SCANS = ("JPEG", "MPO")  # libtiff refuses JPEG data of more than 100 scans
_LEAST_SIDE, _SAFE_AREA = 64, 4_000_000  # pixels that networks need, and pixels that fit into memory with all of them

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_INVERSE = {6: 8, 8: 6}  # the other orientations are their own inverses

forks.protect()


def read(path: str | os.PathLike[str], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Decode an image file.

    Grey, palette and CMYK images are converted to RGB, transparent images are composited on white, and 16-bit values
    keep the upper 8 of the bits that they use (`detection.bit_depth`). An animation gives its first frame.

    Args:
        path: a file in one of `data.photo_files.FORMATS`.
        size: (H, W) of the annotation, or None. The EXIF orientation is applied, as image viewers do, unless only the
            size of the pixels as stored agrees with the annotation.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        OSError: the file cannot be opened (FileNotFoundError, PermissionError, ...).
        ValueError: the file is empty, not an image or damaged; or the image has more than `MAX_PIXELS`, pixels of
            unknown range, or another size than annotated.
    """
    name = os.fspath(path)
    mounts.bring(Path(name))
    if os.path.isfile(name) and os.path.getsize(name) == 0:
        raise ValueError(f"{name}: the file is empty (0 bytes), expected an image")
    with open(name, "rb") as file:
        photo = open_photo(file, name)
        _check_pixels(photo.stored[1], photo.stored[0], name)
        _check_data(photo, file)
        if photo.picture.format == "PNG":  # asked for metadata first, Pillow decodes it and hides that it is damaged
            with _damage_named(name):
                photo.picture.load()
        orientation = photo.orientation_for(size)
        with _damage_named(name):
            pixels = _decode(photo, file)
    if photo.picture.format != "TIFF":
        pixels = _turned(pixels, orientation)
    elif orientation != photo.orientation:  # Pillow has turned it, but the annotation is of the stored pixels
        pixels = _turned(pixels, _INVERSE.get(photo.orientation, photo.orientation))
    return np.array(pixels)  # (H, W, 3)


@contextlib.contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Raise ValueError, with the name of the file, where a decoder fails."""
    try:
        yield
    except (bit_depth.UnknownRange, MemoryError):
        raise
    except Exception as error:  # decoders raise many kinds of errors on damaged data
        raise ValueError(f"{name}: damaged or unsupported image ({one_line(error)}); replace the file") from error


def _decode(photo: PhotoFile, file: IO[bytes]) -> Image.Image:
    """Decode the pixels of a photo to mode RGB; a TIFF picture is turned upright by Pillow."""
    bits = bit_depth.declared_bits(photo.picture, file)
    photo.picture.load()
    picture = photo.picture if bits else bit_depth.of_colours(photo.picture, photo.name, file)
    return _to_rgb(picture, photo.name, bits)


def _turned(pixels: Image.Image, orientation: int) -> Image.Image:
    """Apply an EXIF orientation."""
    return pixels.transpose(_TURNS[orientation]) if orientation in _TURNS else pixels


def pixels_of(image: Any) -> NDArray[np.uint8]:
    """Convert a file, an array, a Pillow image or a torch tensor to an RGB image.

    Args:
        image: a path; a uint8 array, RGB (H, W, 3) or grey (H, W); a Pillow image, whose EXIF orientation is applied;
            or a tensor, RGB (3, H, W) or grey (1, H, W), on any device, uint8 or floating point in [0, 1].

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        OSError: the file cannot be opened.
        ValueError: the file is not an image, or the array or tensor has another type, shape or range.
    """
    if isinstance(image, str | os.PathLike):
        return read(image)
    if isinstance(image, Image.Image):
        return np.array(_to_rgb(ImageOps.exif_transpose(image), "image"))
    known = sys.modules.get("torch")  # if image is a tensor, torch is loaded
    return _of_tensor(image) if known and isinstance(image, known.Tensor) else as_rgb(image)


def _of_tensor(image: torch.Tensor) -> NDArray[np.uint8]:
    import torch

    if image.ndim != 3 or image.shape[0] not in (1, 3):
        hint = "give one image at a time" if image.ndim == 4 else "RGB or grey, channels first"
        raise ValueError(f"image: expected a tensor (3, H, W) or (1, H, W), got {tuple(image.shape)}; {hint}")
    if image.is_floating_point():
        low, high = (v.item() for v in image.aminmax()) if image.numel() else (0.0, 0.0)
        if not 0 <= low <= high <= 1:
            raise ValueError(f"image: expected a floating-point tensor in [0, 1], got {low:g} to {high:g}")
        image = (image * 255).round().to(torch.uint8)
    return as_rgb(image.permute(1, 2, 0).cpu().numpy())


def as_rgb(image: ArrayLike) -> NDArray[np.uint8]:
    """Validate an image array and convert it to RGB.

    Args:
        image: uint8, RGB (H, W, 3) or grey (H, W) or (H, W, 1).

    Returns:
        uint8 RGB (H, W, 3), C-contiguous.

    Raises:
        ValueError: the array has another type or shape, or no pixels.
    """
    if image is None:
        raise ValueError("image: got None; cv2.imread returns None for a file that is missing or not an image")
    array = np.asarray(image)
    if array.dtype != np.uint8:
        advice = _TO_UINT8.get(array.dtype.kind, "convert it")
        raise ValueError(f"image: expected uint8 RGB, got {array.dtype}; {advice}")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        hint = ""
        if array.ndim == 3 and array.shape[2] == 4:
            hint = "; drop the alpha channel with image[..., :3]"
        elif array.ndim == 3 and array.shape[0] in (1, 3):
            hint = "; move the channels last with image.transpose(1, 2, 0)"
        elif array.ndim == 4:
            hint = "; give one image at a time"
        raise ValueError(f"image: expected shape (H, W, 3) or (H, W), got {array.shape}{hint}")
    if array.size == 0:
        raise ValueError(f"image: expected at least one pixel, got shape {array.shape}")
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array)


_TO_UINT8 = {
    "f": "scale it to 0..255 and use .astype(np.uint8)",
    "u": "scale it to 0..255, for 16 bits (image >> 8).astype(np.uint8), for 12 bits (image >> 4).astype(np.uint8)",
    "i": "scale it to 0..255 and use .astype(np.uint8)",
    "b": "use image.astype(np.uint8) * 255",
    "U": "give one file at a time",
    "S": "decode it first, as with PIL.Image.open(io.BytesIO(image))",
}


def resized_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Compute (H, W) after `resize_short_side`: the short side is `short_side`, the long side is rounded up."""
    height, width = size
    short, long = min(size), max(size)
    new_long = -(-short_side * long // short)  # ceil in integers; with floats it can be one too many
    return (short_side, new_long) if height <= width else (new_long, short_side)


def short_side_for(size: tuple[int, int], short_side: int) -> int:
    """Return the short side to resize an image to so that an elongated one does not fill the memory.

    Args:
        size: (H, W) of the image.
        short_side: the short side for images of which one side is at most `MAX_ASPECT` times the other, in pixels.

    Returns:
        `short_side`, or for longer images the short side at which they have the area of one with that aspect, though
        not less than the 64 pixels that networks need, as long as the area stays below 4 megapixels.
    """
    short, long = min(size), max(size)
    if long <= MAX_ASPECT * short:
        return short_side
    bounded = max(1, math.isqrt(MAX_ASPECT * short_side**2 * short // long))
    least = min(short_side, _LEAST_SIDE)
    return least if bounded < least and least**2 * long <= _SAFE_AREA * short else bounded


def resize_short_side(image: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """Resize an image to a given short side, keeping its aspect ratio.

    Interpolation is bilinear without antialiasing, and values are rounded to uint8.

    Args:
        image: uint8 (H, W, 3).
        short_side: pixels of the shorter side of the result; the longer side is rounded up.

    Returns:
        uint8 (h, w, 3).

    Raises:
        ValueError: `short_side` is less than 1, or the result would have more than `MAX_PIXELS`.

    Source: spp_features_convX.m (imresize of uint8, bilinear, antialiasing off).
    """
    if short_side < 1:
        raise ValueError(f"short_side: expected at least 1 pixel, got {short_side}")
    height, width = image.shape[:2]
    new_height, new_width = resized_size((height, width), int(short_side))
    _check_pixels(new_width, new_height, f"image of {width} x {height} pixels at a short side of {short_side}")
    if (new_height, new_width) == (height, width):
        return image
    resized: NDArray[Any] = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    return resized.astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Preprocessing:
    """Conversion of images to network inputs: (x * scale - mean) / std for each channel.

    Attributes:
        mean: mean of each scaled channel, in the network's channel order.
        std: standard deviation of each scaled channel, in the same order.
        scale: factor for values in 0..255.
        bgr: whether the network's channel order is blue, green, red.
    """

    mean: tuple[Shift, Shift, Shift]
    std: tuple[Factor, Factor, Factor] = (1.0, 1.0, 1.0)
    scale: Factor = 1.0
    bgr: bool = False

    def __call__(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Convert an image: uint8 RGB (H, W, 3) -> float32 (3, H, W).

        The tensor is a view of (H, W, 3) memory. With [None] it is channels-last, which is fast on CPUs.

        Raises:
            ValueError: the image is not uint8 (H, W, 3).
        """
        import torch

        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"image: expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
        if self.bgr:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)
        values: NDArray[Any] = cv2.LUT(image, self._table)  # (H, W, 3)
        return torch.from_numpy(values).permute(2, 0, 1)

    def shift(self, rgb: ArrayLike) -> torch.Tensor:
        """Convert an offset (3,) of red, green and blue in 0..255 to one of the result: float32 (3, 1, 1)."""
        import torch

        values = np.asarray(rgb, np.float64)[:: -1 if self.bgr else 1] * self.scale / np.array(self.std)
        return torch.from_numpy(values.astype(np.float32))[:, None, None]

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        """The result for each byte value and channel, rounded once: float32 (1, 256, 3)."""
        levels = np.arange(256, dtype=np.float64)[:, None] * self.scale  # (256, 1)
        table = (levels - np.array(self.mean)) / np.array(self.std)  # (256, 3)
        return table[None].astype(np.float32)


def _to_rgb(picture: Image.Image, name: str, bits: int | None = None) -> Image.Image:
    """Convert a decoded picture to mode RGB; `bits` as of `bit_depth.of_values`."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I") or picture.mode == "F":
        return bit_depth.of_values(picture, name, bits).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def _check_pixels(width: int, height: int, what: str) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{what}: {width} x {height} pixels, at most {MAX_PIXELS:,} are supported; resize or crop it")


def _check_data(photo: PhotoFile, file: IO[bytes]) -> None:
    """Raise if the pixels of a JPEG file would take too long to decode, or are zeros."""
    if photo.picture.format not in _OF_SCANS:
        return
    data = bit_depth.content(file)
    _check_scans(photo, data)
    if (at := zeroed_jpeg(data)) is not None:
        raise ValueError(f"{photo.name}: damaged image (zeros in place of pixels from byte {at} on); replace the file")


def _check_scans(photo: PhotoFile, data: bytes) -> None:
    """Raise if decoding a JPEG file would take too many passes over its pixels."""
    height, width = photo.stored
    scans, most = count_scans(data), MAX_SCANNED_PIXELS // (height * width)
    if scans > most:
        advice = f"of this size at most {most} are supported; save it again"
        raise ValueError(f"{photo.name}: JPEG of {width} x {height} pixels in {scans:,} scans, {advice}")
