"""Downloads of Pascal VOC and Caltech-101 through torchvision, which verifies the checksums."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from data.files import IMAGE_SUFFIXES

SPLITS = {"2007": ("trainval", "test"), "2012": ("trainval",)}
"""Splits that are public with annotations; the annotations of the 2012 test split are not."""

HOME = "http://host.robots.ox.ac.uk/pascal/VOC/"


def download_voc(root: str | os.PathLike[str], year: str = "2007") -> Path:
    """Download and unpack one year of Pascal VOC; splits that are complete are left untouched.

    The tar files (2007: 0.9 GB) stay in `root`, so that an interrupted run does not download them again; files put
    there by hand are used.

    Args:
        root: folder for VOCdevkit/VOC<year>; created if missing.
        year: "2007" (trainval and test) or "2012" (trainval).

    Returns:
        the devkit folder, `root`/VOCdevkit.

    Raises:
        ValueError: the year is not one of these.
        OSError: the download, the checksum or the unpacking failed.
    """
    if year not in SPLITS:
        raise ValueError(f"year: expected one of {', '.join(SPLITS)}, got {year!r}")
    root = Path(root).expanduser()
    devkit = root / "VOCdevkit"
    for split in SPLITS[year]:
        if not _is_complete(devkit / f"VOC{year}", split):
            _fetch(root, year, split)
    return devkit


def _fetch(root: Path, year: str, split: str) -> None:
    import torchvision  # takes seconds to import and is needed here only

    try:
        torchvision.datasets.VOCDetection(str(root), year=year, image_set=split, download=True)
    except (OSError, RuntimeError, tarfile.TarError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise OSError(
            f"VOC {year} {split}: download into {root} failed ({reason}); try again, or download the tar "
            f"file from {HOME} by hand and put it there"
        ) from error
    if not _is_complete(root / "VOCdevkit" / f"VOC{year}", split):
        raise OSError(
            f"VOC {year} {split}: files are missing in {root} after unpacking; delete the tar file there and try again"
        )


def _is_complete(folder: Path, split: str) -> bool:
    """Whether every listed image exists together with its annotation."""
    path = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not path.is_file():
        return False
    ids = set(path.read_text("utf-8").split())
    annotations, images = (_stems(folder / name) for name in ("Annotations", "JPEGImages"))
    return bool(ids) and ids <= annotations and ids <= images


def _stems(folder: Path) -> set[str]:
    """Return the stems of the annotation and image files in a folder that are not empty."""
    if not folder.is_dir():
        return set()
    suffixes = (".xml", *IMAGE_SUFFIXES)
    return {e.name.rsplit(".", 1)[0] for e in os.scandir(folder) if e.name.endswith(suffixes) and e.stat().st_size}


def download_caltech101(root: str | os.PathLike[str]) -> Path:
    """Download and unpack Caltech-101, unless its folder exists already.

    Args:
        root: folder for caltech101; created if missing.

    Returns:
        the folder with one folder per class, `root`/caltech101/101_ObjectCategories.

    Raises:
        OSError: the download, the checksum or the unpacking failed.
    """
    root = Path(root).expanduser()
    folder = root / "caltech101" / "101_ObjectCategories"
    if folder.is_dir():
        return folder
    from torchvision.datasets import Caltech101

    try:
        Caltech101(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"Caltech-101: download failed ({error}); unpack 101_ObjectCategories to {folder} by hand"
        ) from error
    return folder
