"""Image files of a data set: their suffixes, ids and sizes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from data.names import readable

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Suffixes of annotated images, in order of preference where several files have the same stem."""

PHOTOS = frozenset({*IMAGE_SUFFIXES, ".gif", ".ppm", ".pgm", ".jp2", ".avif"})
"""Suffixes of all photos that can be decoded."""

_MODERN = (".heic", ".heif", ".hif", ".jxl")
_EDITORS = (".psd", ".xcf", ".svg", ".eps", ".exr", ".hdr")
_CAMERAS = (".dng", ".raw", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw")
OTHER_PICTURES = frozenset({*_MODERN, *_EDITORS, *_CAMERAS})
"""Suffixes of further pictures: where they cannot be decoded, people are told that they are left out."""

_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)  # EXIF


def images_in(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def ids_of(paths: Iterable[Path]) -> dict[str, Path]:
    """Give every image an id: its stem or, if several images have the same stem, its path below their common folder.

    Folders are joined with hyphens. Blanks become underscores, because blanks separate the columns of result files;
    bytes that are not UTF-8 become text.

    Returns:
        id -> image file.

    Raises:
        ValueError: the paths of two images differ only in their suffixes or blanks.
    """
    paths = list(paths)
    common = Path(os.path.commonpath([p.parent for p in paths])) if paths else Path()
    named = {_plain(p.stem): p for p in paths}
    if len(named) < len(paths):
        named = {}
        for path in paths:
            image_id = _plain("-".join(path.relative_to(common).with_suffix("").parts))
            if image_id in named:
                raise ValueError(f"{path} and {named[image_id]}: would both have the id {image_id}; rename one")
            named[image_id] = path
    return named


def _plain(name: str) -> str:
    return "_".join(readable(name).split())


def image_size(path: Path) -> tuple[int, int]:
    """Return (H, W) of an image file as a viewer shows it (EXIF orientation applied), without decoding it.

    Raises:
        OSError: the file cannot be opened.
        ValueError: the file is not an image.
    """
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            sideways = picture.getexif().get(_ORIENTATION) in _SIDEWAYS
    except FileNotFoundError:
        raise FileNotFoundError(f"image is missing: {path}") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not an image, or damaged ({' '.join(str(error).split())})") from None
    return (width, height) if sideways else (height, width)
