"""Reader of Pascal VOC: the devkit, and any folder laid out like one year of it."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from data.annotation import UNUSED, Annotation
from data.build import build
from data.files import HINT, IMAGE_SUFFIXES, preferred
from data.folders import files_below, files_in
from data.names import check_plain
from data.records import Dataset
from data.text import read_text
from data.voc_xml import read_annotation

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
"""The twenty classes in the devkit's order (VOCinit.m)."""

_FOLDERS = ("Annotations", "ImageSets")


def load(
    root: str | os.PathLike[str],
    year: str | None = None,
    split: str = "trainval",
    *,
    classes: Sequence[str] | None = None,
    skip_bad: bool = False,
    images: Path | None = None,
) -> Dataset:
    """Read one split.

    Boxes become 0-based: one is subtracted from every coordinate in the files; fractions are kept. Unusable boxes (a
    single pixel, entirely outside the image) are dropped, boxes that extend beyond the image are clipped, and swapped
    corners are swapped back, with one warning each per data set. A box one pixel wide or high is valid in VOC and kept.
    Parts of objects (`<part>`) are ignored. Boxes in fractions of the image are converted. An annotation without
    `<size>`, or of size 0, has the size of its image.

    Args:
        root: a VOCdevkit, or a folder that itself holds Annotations, ImageSets and JPEGImages. Without JPEGImages, its
            images may lie in any subfolder.
        year: which VOC<year> of a devkit; None: the only one.
        split: name of a list in ImageSets/Main.
        classes: class names in label order. None: the twenty of VOC if no other name occurs in this split, otherwise
            the names that occur, sorted. Pass the classes of the training set when reading a test set, so that labels
            agree; objects of other classes are left out with a warning.
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising at the first one.
            Errors in the list itself always raise.
        images: folder of the images; None: JPEGImages.

    Returns:
        the records in the order of the list file.

    Raises:
        FileNotFoundError: the devkit, year or list does not exist, or an annotation or image is missing.
        ValueError: the list is empty, repeats an id or leads out of the folder; or an annotation is damaged.

    Source: VOCdevkit/VOCcode/PASreadrecord.m, VOCinit.m.
    """
    folder = _find_folder(Path(root), year)
    name = f"{folder.resolve().name} {split}"
    ids, annotations = _read_list(folder, split), _annotation_files(folder)
    place = images or folder / "JPEGImages"
    own = images is None and place.is_dir()
    photos = _by_id(files_in(place, IMAGE_SUFFIXES) if own else files_below(images or folder), ids)
    readers = {i: functools.partial(_read_one, folder, place, i, photos, annotations) for i in ids}
    unused = [str(path) for i, path in sorted(annotations.items()) if i not in photos and i not in readers]
    return build(name, readers, classes, skip_bad, class_names, {UNUSED: unused})


def is_voc(root: Path) -> bool:
    """Whether a folder is a VOCdevkit or laid out like one year of it, with lists."""
    folders = [folder for folder in (root, *root.glob("VOC*")) if _is_voc_folder(folder)]
    return any(any((folder / "ImageSets" / "Main").glob("*.txt")) for folder in folders)


def splits(root: str | os.PathLike[str], year: str | None = None) -> tuple[str, ...]:
    """Return the names of the lists in ImageSets/Main, without those of single classes such as cat_train.

    Raises:
        FileNotFoundError: the devkit or year does not exist.
    """
    names = sorted(p.stem for p in (_find_folder(Path(root), year) / "ImageSets" / "Main").glob("*.txt"))
    plain = [n for n in names if not any(n.endswith(f"_{other}") for other in names)]
    return tuple(plain)


def _find_folder(root: Path, year: str | None) -> Path:
    """Find the folder that holds Annotations and ImageSets."""
    if not root.is_dir():
        raise FileNotFoundError(f"no such folder: {root}; {_how_to_get_one()}")
    if _is_voc_folder(root):
        if year is not None and re.fullmatch(r"VOC\d{4}", root.name) and root.name != f"VOC{year}":
            raise ValueError(f"{root} is {root.name}, expected VOC{year}; give its parent folder")
        return root
    years = sorted(p.name for p in root.glob("VOC*") if re.fullmatch(r"VOC\d{4}", p.name) and _is_voc_folder(p))
    if year is not None:
        if f"VOC{year}" not in years:
            found = f"it holds {', '.join(years)}" if years else _how_to_get_one()
            raise FileNotFoundError(f"no VOC{year} with {', '.join(_FOLDERS)} in {root}; {found}")
        return root / f"VOC{year}"
    if not years:
        raise FileNotFoundError(f"{root} is not a VOCdevkit; {_how_to_get_one()}")
    if len(years) > 1:
        raise ValueError(f"{root} holds {', '.join(years)}; give the folder of one year")
    return root / years[0]


def _is_voc_folder(path: Path) -> bool:
    return all((path / name).is_dir() for name in _FOLDERS)


def _how_to_get_one() -> str:
    return (
        "expected VOC<year>/{Annotations,ImageSets/Main,JPEGImages} or a folder that holds these three "
        "itself; to download VOC 2007, run `sppnet stage extract-features --voc2007 --download`"
    )


def _read_list(folder: Path, split: str) -> list[str]:
    """Read the image ids of ImageSets/Main/<split>.txt, without the second column that lists of single classes have."""
    check_plain(split, "split")
    path = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt"))) or "nothing"
        raise FileNotFoundError(f"no list {path}; ImageSets/Main holds {there}")
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path}: the list is empty; expected one image id per line")
    annotated = _annotation_files(folder)
    # An id may contain blanks: the text after a blank is a column only if no annotation has the whole line as its id.
    ids = [line if line in annotated else line.split()[0] for line in lines]
    seen: set[str] = set()
    for image_id in ids:
        check_plain(image_id, f"{path}: image id")
        if image_id in seen:
            raise ValueError(f"{path}: image id {image_id!r} is listed twice; expected each image once")
        seen.add(image_id)
    return ids


def _by_id(files: Sequence[Path], ids: Sequence[str]) -> dict[str, Path]:
    """Return stem -> image file; of several with the same stem in one folder, the one with the preferred suffix.

    Raises:
        ValueError: two folders hold a file for one id.
    """
    found: dict[str, Path] = {}
    wanted = set(ids)
    for path in preferred(files):
        other = found.setdefault(path.stem, path)
        if other != path and path.stem in wanted:
            raise ValueError(f"image {path.stem} can be {other} or {path}; {HINT}")
    return found


def _annotation_files(folder: Path) -> dict[str, Path]:
    """Return stem -> annotation file."""
    files = (entry for entry in os.scandir(folder / "Annotations") if entry.name.lower().endswith(".xml"))
    return {entry.name[:-4]: Path(entry.path) for entry in files if not entry.name.startswith(".") and entry.is_file()}


def _read_one(
    folder: Path, place: Path, image_id: str, images: dict[str, Path], annotations: dict[str, Path]
) -> tuple[Path, Annotation]:
    if image_id not in annotations:
        raise FileNotFoundError(f"annotation is missing: {folder / 'Annotations' / f'{image_id}.xml'}")
    if image_id not in images:
        wanted = place / f"{image_id}.jpg"
        raise FileNotFoundError(f"image is missing: {wanted} (nor with another suffix of photos); {HINT}")
    return images[image_id], read_annotation(annotations[image_id], images[image_id])


def class_names(found: set[str]) -> tuple[str, ...]:
    """Return VOC's twenty classes in the devkit's order, or other names sorted."""
    return VOC_CLASSES if found <= set(VOC_CLASSES) else tuple(sorted(found))
