"""Image decoding, resizing and preprocessing. Images are uint8 RGB (H, W, 3) in the whole project."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

if TYPE_CHECKING:  # proposals do not need torch, and start faster without it
    import torch

MAX_PIXELS = 178_000_000
"""Largest image to read or resize to. 108-megapixel photos are accepted; Pillow refuses more than 178,956,970."""

_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_SIDES = (5, 6, 7, 8)
_WARNINGS_LOCK = threading.Lock()  # warnings.catch_warnings is not thread-safe


def read(path: str | os.PathLike[str], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Decode an image file.

    Grey, palette and CMYK images are converted to RGB, transparent images are composited on white, and 16-bit values
    keep their upper 8 bits. An animation gives its first frame.

    Args:
        path: a file in any format that Pillow decodes.
        size: (H, W) of the annotation, or None. With a size, the EXIF orientation is applied only if the image has
            this size afterwards and not as stored. With None, it is always applied, as image viewers do.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        OSError: the file cannot be opened (FileNotFoundError, PermissionError, ...).
        ValueError: the file is empty, not an image or damaged; or the image has more than `MAX_PIXELS`, pixels of
            unknown range, or another size than annotated.
    """
    name = os.fspath(path)
    if os.path.isfile(name) and os.path.getsize(name) == 0:
        raise ValueError(f"{name}: the file is empty (0 bytes), expected an image")
    with open(name, "rb") as file:
        picture, orientation = _open(file, name)
        _check_pixels(picture.width, picture.height, name)
        orientation = _choose_orientation(picture, orientation, size, name)
        try:
            picture.load()
            pixels = _to_rgb(picture, name)
        except (_UnknownRange, MemoryError):
            raise
        except Exception as error:  # decoders raise many kinds of errors on damaged data
            raise ValueError(f"{name}: damaged or unsupported image ({_one_line(error)}); replace the file") from error
    if orientation in _TURNS:
        pixels = pixels.transpose(_TURNS[orientation])
    return np.array(pixels)  # (H, W, 3)


def pixels_of(image: Any) -> NDArray[np.uint8]:
    """Convert a file, an array, a Pillow image or a torch tensor to an RGB image.

    Args:
        image: a path; a uint8 array, RGB (H, W, 3) or grey (H, W); a Pillow image, whose EXIF orientation is applied;
            or a tensor (3, H, W) on any device, uint8 or floating point in [0, 1].

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

    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image: expected a tensor (3, H, W), got {tuple(image.shape)}; give one image at a time")
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
        elif array.ndim == 3 and array.shape[0] == 3:
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
    "u": "scale it to 0..255, for 16 bits (image >> 8).astype(np.uint8)",
    "i": "scale it to 0..255 and use .astype(np.uint8)",
    "b": "use image.astype(np.uint8) * 255",
}


def resized_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Compute (H, W) after `resize_short_side`: the short side is `short_side`, the long side is rounded up."""
    height, width = size
    short, long = min(size), max(size)
    new_long = -(-short_side * long // short)  # ceil in integers; with floats it can be one too many
    return (short_side, new_long) if height <= width else (new_long, short_side)


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

    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    scale: float = 1.0
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


class _UnknownRange(ValueError):
    """Pixels without a known value of white."""


def _open(file: Any, name: str) -> tuple[Image.Image, int]:
    """Open a picture without decoding it, and read its EXIF orientation; 1 if it is missing or unreadable."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about large images and unusual metadata
        try:
            picture = Image.open(file)
        except Image.DecompressionBombError as error:
            raise ValueError(f"{name}: {_one_line(error)}; the limit is {MAX_PIXELS}, resize the file") from None
        except Image.UnidentifiedImageError:
            raise ValueError(f"{name}: not an image that Pillow can decode; convert it to JPEG or PNG") from None
        except Exception as error:  # decoders raise many kinds of errors on damaged data
            raise ValueError(f"{name}: damaged image ({_one_line(error)}); replace the file") from error
        if picture.format == "TIFF":
            return picture, 1  # Pillow's TIFF decoder applies the orientation itself
        try:
            return picture, int(picture.getexif().get(_ORIENTATION, 1))
        except Exception:  # the pixels can be used without the metadata
            return picture, 1


def _choose_orientation(picture: Image.Image, orientation: int, size: tuple[int, int] | None, name: str) -> int:
    """Return the EXIF orientation to apply, 1 for none; raise ValueError if the annotated size does not fit."""
    stored = (picture.height, picture.width)
    turned = stored[::-1] if orientation in _SWAPS_SIDES else stored
    if size is not None and tuple(size) == stored:
        return 1
    if size is None or tuple(size) == turned:
        return orientation
    raise ValueError(
        f"{name}: the image is {stored[1]} x {stored[0]} pixels, its annotation says {size[1]} x {size[0]} "
        "(width x height); correct one of them"
    )


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    """Convert a decoded picture to mode RGB."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I"):  # 16-bit grey, which some versions of Pillow convert to 32 bits
        wide = np.asarray(picture)
        if wide.min() < 0 or wide.max() > 65535:
            raise _UnknownRange(f"{name}: 32-bit pixels of unknown range; save it with 8 or 16 bits")
        return Image.fromarray((wide.astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise _UnknownRange(f"{name}: floating-point pixels of unknown range; save it with 8 or 16 bits")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def _check_pixels(width: int, height: int, what: str) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{what}: {width} x {height} pixels, at most {MAX_PIXELS:,} are supported; resize or crop it")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
