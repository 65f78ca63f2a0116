"""Image files of a data set: their suffixes, ids and sizes."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from data.folders import files_below
from data.names import readable
from data.photo_files import SUFFIXES, open_photo

IMAGE_SUFFIXES = SUFFIXES
"""Suffixes of images, in order of preference where several files in one folder have the same stem."""

PHOTOS = frozenset(SUFFIXES)
"""Suffixes of all photos that can be decoded."""

_LABELS = frozenset({".txt", ".xml", ".json", ".csv", ".yaml", ".yml", ".names", ".data", ".npy", ".npz", ".cache"})
_BESIDE = _LABELS | {".md", ".html", ".db", ".ini"}
"""Suffixes of labels and notes, which may lie beside images."""

_EDITORS = (".psd", ".xcf", ".svg", ".eps", ".exr", ".hdr", ".jxl")
_CAMERAS = (".dng", ".raw", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw")
OTHER_PICTURES = frozenset({*_EDITORS, *_CAMERAS})
"""Suffixes of pictures that are not decoded: people are told that they are left out."""

HINT = "if the photos are in another folder, name it with --images"
"""What to do about missing photos."""

log = logging.getLogger(__name__)


def images_in(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, sorted; a warning counts the files left out.

    Links to folders are followed. Of images with the same stem in one folder, only the one with the preferred suffix is
    returned.
    """
    files = files_below(folder)
    found = preferred(files)
    warn_of_others(folder, files, found)
    return found


def preferred(files: Iterable[Path]) -> list[Path]:
    """Return the images among files, sorted; of those with the same stem in one folder, that with the best suffix."""
    rank = {suffix: i for i, suffix in enumerate(IMAGE_SUFFIXES)}
    images = sorted((p for p in files if p.suffix.lower() in rank), key=lambda p: -rank[p.suffix.lower()])
    return sorted({(p.parent, p.stem): p for p in images}.values())


def warn_of_others(folder: Path, files: Iterable[Path], used: Iterable[Path]) -> None:
    """Log one warning per process and folder that counts files which are neither used nor labels."""
    known = set(used)
    others = Counter(
        (p.suffix.lower() or "without a suffix") + " (another photo has the same name)" * (p.suffix.lower() in PHOTOS)
        for p in files
        if p not in known and p.suffix.lower() not in _BESIDE
    )
    if others:
        kinds = ", ".join(f"{n} {kind}" for kind, n in others.most_common())
        count = others.total()
        _warn_once(f"{folder}: left out {count} file{'s' * (count != 1)}: {kinds}")


@cache
def _warn_once(message: str) -> None:
    log.warning(message)


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
    if "\0" in str(path):
        raise FileNotFoundError(f"image is missing: {path}; {HINT}")
    try:
        with open(path, "rb") as file:
            return open_photo(file, str(path)).upright
    except FileNotFoundError:
        raise FileNotFoundError(f"image is missing: {path}; {HINT}") from None
