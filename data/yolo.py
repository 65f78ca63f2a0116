"""Reader of YOLO's text files: data.yaml, or folders of photos and labels."""

from __future__ import annotations

import functools
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.annotation import REPEATED, UNLABELLED, UNUSED, Annotation, Objects, number
from data.build import build
from data.files import ids_of, image_size, images_in
from data.photo_search import MOVED, PhotoSearch
from data.records import Dataset
from data.text import read_text
from data.units import FIRST_PIXEL, to_pixels
from data.yolo_config import Config
from data.yolo_layout import Labels, find_splits, labels_by_split
from data.yolo_names import ClassNames

VISIBILITIES = (0, 1, 2)  # of keypoints
_MARGIN = 0.05  # fraction of the photo by which a keypoint may lie outside its box

log = logging.getLogger(__name__)


def splits(root: Path, images: Path | None = None) -> tuple[str, ...]:
    """Return the names of the splits; empty if there is no YOLO data set.

    Looks for a data.yaml, or the only other YAML file with class names, where train, val and test name folders or lists
    of images; else for folders, see `yolo_layout.find_splits`. With a folder of images, the folders of the label files
    name the splits.
    """
    if images is not None:
        return tuple(labels_by_split(_folder(root)))
    config = Config.of(root)
    if config is None:
        return tuple(find_splits(root))
    return config.splits or tuple(find_splits(config.base))


def load(
    root: Path,
    split: str,
    *,
    classes: Sequence[str] | None = None,
    skip_bad: bool = False,
    name: str | None = None,
    images: Path | None = None,
) -> Dataset:
    """Read one split.

    A line holds a class number, then either centre x, centre y, width and height as fractions of the image, or a
    polygon, of which the bounding box is used. Where data.yaml has `kpt_shape`, the keypoints after a box are ignored.
    Boxes become 0-based inclusive corners, x2 = x1 + width - 1. The label file of an image is in the folder labels for
    one in images, or beside it; an image without a label file has no objects.

    Args:
        root: folder or file, as for `splits`.
        split: name of the split.
        classes: class names in label order; None: the names in data.yaml or classes.txt, else the class numbers.
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.
        name: name of the data set and split, for messages.
        images: folder of the images, where each label file has one of its name; None: in the data set.

    Raises:
        OSError, ValueError: a file is damaged, a class has no name, or a line may be something else than a polygon.
    """
    config, name = Config.of(root), name or f"{root.name} {split}"
    listed, labels, notes = _photos(root, split, config) if images is None else _elsewhere(root, split, images)
    if not listed:
        raise ValueError(f"{root}: split {split} holds no images")
    photos = list({os.path.normpath(path): path for path in listed}.values())
    names = ClassNames.of(root, config)
    keypoints = config.keypoints if config else None
    readers = {i: functools.partial(_read_one, path, labels, names, keypoints) for i, path in ids_of(photos).items()}
    if not any(map(labels.of, photos)):
        log.warning("%s: none of the %d photos has a label file, so all of them are background", name, len(photos))
    if not names.all:
        log.warning("%s: no class names, so classes are called by their numbers; add data.yaml or classes.txt", name)
    notes = {REPEATED: _repeated(listed), **notes}
    return build(name, readers, classes or names.all or None, skip_bad, lambda found: sorted(found, key=int), notes)


def has_labels(root: Path) -> bool:
    """Whether there are label files in a folder, or in the folder of a file."""
    return bool(labels_by_split(_folder(root)))


Photos = tuple[list[Path], Labels, dict[str, list[str]]]
"""Images as listed, their labels, and kind -> remarks."""


def _photos(root: Path, split: str, config: Config | None) -> Photos:
    """Return the images of a split in the data set."""
    moved: list[str] = []
    if config is not None and config.splits:
        listed, moved = config.images(split)
    else:
        listed = find_splits(config.base if config else root)[split]
    labels = Labels()
    return listed, labels, {UNUSED: list(map(str, labels.unused(listed))), MOVED: moved}


def _elsewhere(root: Path, split: str, images: Path) -> Photos:
    """Return the images of a split in another folder: those that its label files are named after."""
    by_split = labels_by_split(_folder(root))
    stated = {str(p.relative_to(_folder(root)).with_suffix("")): p for texts in by_split.values() for p in texts}
    found, _ = PhotoSearch([images], images, root).find(stated)
    photos = {found[name]: path for name, path in stated.items() if found[name].is_file()}
    unused = [str(stated[name]) for name, photo in found.items() if not photo.is_file()]
    bare = [str(path) for path in images_in(images) if path not in photos]
    of_split = set(by_split[split])
    mine = {photo: path for photo, path in photos.items() if path in of_split}
    return list(mine), Labels(mine), {UNUSED: unused, UNLABELLED: bare}


def _folder(root: Path) -> Path:
    return root if root.is_dir() else root.parent


def _repeated(listed: Sequence[Path]) -> list[str]:
    """Return the images that are listed more than once."""
    counts = Counter(map(os.path.normpath, listed))
    return [str(path) for path, count in counts.items() if count > 1]


def _read_one(
    image: Path, labels: Labels, names: ClassNames, keypoints: tuple[int, int] | None
) -> tuple[Path, Annotation]:
    size, path = image_size(image), labels.of(image)
    objects = Objects(path or image, size)
    if path is None:
        return image, objects.annotation()
    of_class = names.of_photo(image, path)
    for count, line in enumerate(read_text(path).splitlines(), 1):
        if line.strip():
            where = f"{path}: line {count}"
            k, values = _row(line.split(), where)
            if k < 0 or (of_class and k not in of_class):
                raise ValueError(f"{where}: class {k}, expected {_range(of_class)}")
            name = of_class.get(k, str(k))
            corners = objects.ordered(name, _corners(values, keypoints, where))
            objects.add(name, to_pixels(corners, size), values)
    return image, objects.annotation()


def _range(of_class: Mapping[int, str]) -> str:
    if not of_class:
        return "0 or more"
    last = len(of_class) - 1
    return f"0 to {last}" if max(of_class) == last else f"one of {', '.join(map(str, of_class))}"


def _row(columns: Sequence[str], where: str) -> tuple[int, list[float]]:
    """Read the class and the other numbers of a line."""
    if len(columns) < 5:
        raise ValueError(f"{where} has {len(columns)} columns, expected a class and x, y, width, height, or a polygon")
    k, *values = (number(text, f"{where}: a column") for text in columns)
    if not k.is_integer():
        raise ValueError(f"{where}: class {columns[0]}, expected a whole number")
    return int(k), values


def _corners(values: Sequence[float], keypoints: tuple[int, int] | None, where: str) -> list[float]:
    """Return x0, y0, x1, y1 in fractions of the image, of a box with or without keypoints or of a polygon."""
    columns = len(values) + 1
    if keypoints and columns not in (5, 5 + keypoints[0] * keypoints[1]):
        expected = 5 + keypoints[0] * keypoints[1]
        raise ValueError(f"{where} has {columns} columns, expected 5, or {expected} as kpt_shape is {list(keypoints)}")
    if columns == 5 or keypoints:
        _check_fractions(values[:4], where, "are the numbers pixels? divide them by its width and height")
        x, y, w, h = values[:4]
        return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    if columns < 7 or columns % 2 == 0 or _has_keypoints(values):
        raise ValueError(
            f"{where} has {columns} columns, expected a class and x, y, width, height, or a polygon; for boxes with "
            "keypoints, set kpt_shape in data.yaml"
        )
    _check_fractions(values, where, "for boxes with keypoints, set kpt_shape in data.yaml")
    xs, ys = values[0::2], values[1::2]
    return [min(xs), min(ys), max(xs), max(ys)]


def _check_fractions(values: Sequence[float], where: str, hint: str) -> None:
    wrong = next((v for v in values if abs(v) >= FIRST_PIXEL), None)
    if wrong is not None:
        raise ValueError(f"{where}: {wrong:g} is not a fraction of the image; {hint}")


def _has_keypoints(values: Sequence[float]) -> bool:
    """Whether numbers that could be a polygon are a box and keypoints, each with x, y and its visibility."""
    x, y, w, h, *points = values
    if len(points) % 3 or not all(v in VISIBILITIES for v in points[2::3]):
        return False
    inside = all(
        (px, py) == (0, 0) or (abs(px - x) <= w / 2 + _MARGIN and abs(py - y) <= h / 2 + _MARGIN)
        for px, py in zip(points[0::3], points[1::3], strict=True)
    )
    return inside and w > 0 and h > 0
