"""Pascal VOC from the network into a VOCdevkit, through torchvision's own, checksummed download."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from data.files import IMAGE_SUFFIXES

SPLITS = {"2007": ("trainval", "test"), "2012": ("trainval",)}
"""What is public with annotations; the test annotations of 2012 never were."""

HOME = "http://host.robots.ox.ac.uk/pascal/VOC/"


def download_voc(root: str | os.PathLike[str], year: str = "2007") -> Path:
    """Fetch and unpack one year; what is already there in full is not touched.

    The tar files (2007: 0.9 GB) are kept in `root`, so that an interrupted run does not fetch them
    again; files put there by hand are used.

    Args:
        root: folder to hold VOCdevkit/VOC<year>; made if absent.
        year: "2007" (trainval and test) or "2012" (trainval).

    Returns:
        The devkit, `root`/VOCdevkit.

    Raises:
        ValueError: another year.
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
    import torchvision  # seconds to import, and needed by this call alone

    try:
        torchvision.datasets.VOCDetection(str(root), year=year, image_set=split, download=True)
    except (OSError, RuntimeError, tarfile.TarError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise OSError(
            f"VOC {year} {split}: download into {root} failed ({reason}); try again, or fetch the tar "
            f"from {HOME} by hand and put it there"
        ) from error
    if not _is_complete(root / "VOCdevkit" / f"VOC{year}", split):
        raise OSError(
            f"VOC {year} {split}: files are missing in {root} after unpacking; remove the tar there and try again"
        )


def _is_complete(folder: Path, split: str) -> bool:
    """Whether every image of the list is there with its annotation."""
    path = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not path.is_file():
        return False
    ids = set(path.read_text("utf-8").split())
    annotations, images = (_stems(folder / name) for name in ("Annotations", "JPEGImages"))
    return bool(ids) and ids <= annotations and ids <= images


def _stems(folder: Path) -> set[str]:
    """Names without suffix of the files there that hold anything."""
    if not folder.is_dir():
        return set()
    suffixes = (".xml", *IMAGE_SUFFIXES)
    return {e.name.rsplit(".", 1)[0] for e in os.scandir(folder) if e.name.endswith(suffixes) and e.stat().st_size}


def download_caltech101(root: str | os.PathLike[str]) -> Path:
    """Fetch and unpack Caltech-101, through torchvision's own, checksummed download.

    Args:
        root: folder to hold caltech101; made if absent. What is already there is not fetched again.

    Returns:
        The folder that has a folder a class, `root`/caltech101/101_ObjectCategories.

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
        raise OSError(f"Caltech-101 cannot be fetched ({error}); unpack 101_ObjectCategories to {folder}") from error
    return folder
