"""Reader of YOLO's text files: data.yaml, or folders named images and labels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from data.annotation import Annotation, Objects, number
from data.build import build
from data.files import ids_of, image_size, images_in
from data.records import Dataset

_LISTS = ("classes.txt", "obj.names", "labels/classes.txt")


def splits(root: Path) -> dict[str, list[Path]]:
    """Return split name -> image files; empty if there is no YOLO data set.

    Looks for a data.yaml, where train, val and test name folders or lists of images; `images/<split>` with
    `labels/<split>`; `<split>/images` with `<split>/labels`; and `images` with `labels`, the split "all".
    """
    settings = _settings(root)
    if settings is not None:
        base = _base(root, settings)
        named = {split: settings[split] for split in ("train", "val", "test") if settings.get(split)}
        return {split: _images(base, where, _yaml(root)) for split, where in named.items()}
    if not root.is_dir():
        return {}
    pairs = {p.parent.name: p for p in sorted(root.glob("*/images")) if (p.parent / "labels").is_dir()}
    if (root / "images").is_dir() and (root / "labels").is_dir():
        below = {p.name: p for p in sorted((root / "images").iterdir()) if (root / "labels" / p.name).is_dir()}
        pairs = below or {"all": root / "images"}
    return {split: images_in(folder) for split, folder in pairs.items()}


def load(
    root: Path, split: str, *, classes: Sequence[str] | None = None, skip_bad: bool = False, name: str | None = None
) -> Dataset:
    """Read one split.

    A line holds a class number, then either centre x, centre y, width and height as fractions of the image, or a
    polygon, of which the bounding box is used. Boxes become 0-based inclusive corners, x2 = x1 + width - 1. An image
    without a label file has no objects.

    Args:
        root: folder or file, as for `splits`.
        split: name of the split.
        classes: class names in label order; None: the names in data.yaml or classes.txt, else the class numbers.
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.
        name: name of the data set and split, for messages.

    Raises:
        OSError, ValueError: a file is damaged, or a class has no name.
    """
    names, images = _names(root), splits(root)[split]
    if not images:
        raise ValueError(f"{root}: split {split} holds no images")
    readers = {i: functools.partial(_read_one, path, names) for i, path in ids_of(images).items()}
    order = (lambda found: sorted(found, key=int)) if names is None else sorted
    return build(name or f"{root.name} {split}", readers, classes or names, skip_bad, order)


def _yaml(root: Path) -> Path:
    return root if root.suffix in (".yaml", ".yml") else root / "data.yaml"


def _settings(root: Path) -> dict[str, Any] | None:
    path = _yaml(root)
    if not path.is_file():
        return None
    try:
        settings = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(settings, dict) or "names" not in settings:
        raise ValueError(f"{path}: not a YOLO data set; expected names, train and val")
    return settings


def _base(root: Path, settings: dict[str, Any]) -> Path:
    folder = _yaml(root).parent
    told = settings.get("path")
    return folder / told if told and (folder / told).is_dir() else folder


def _images(base: Path, where: str | list[str], source: Path) -> list[Path]:
    """Return the images of a folder or list file, or of several."""
    found: list[Path] = []
    for one in [where] if isinstance(where, str) else where:
        # Roboflow writes ../train/images for a folder beside data.yaml
        place = next((p for p in (base / one, base / one.removeprefix("../")) if p.exists()), None)
        if place is None:
            raise FileNotFoundError(f"{source}: no such folder or list: {base / one}")
        lines = [] if place.is_dir() else place.read_text("utf-8").split("\n")
        found += images_in(place) if place.is_dir() else [base / line.strip() for line in lines if line.strip()]
    return found


def _names(root: Path) -> list[str] | None:
    settings = _settings(root)
    if settings is not None:
        names = settings["names"]
        return [str(names[k]) for k in sorted(names)] if isinstance(names, dict) else [str(n) for n in names]
    path = next((root / name for name in _LISTS if (root / name).is_file()), None)
    return None if path is None else [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]


def labels_of(image: Path) -> Path:
    """Return the label file of an image: in its path, the last folder named images becomes labels."""
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _read_one(image: Path, names: list[str] | None) -> tuple[Path, Annotation]:
    height, width = image_size(image)
    path = labels_of(image)
    objects = Objects(path, (height, width))
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    for count, line in enumerate((text.split() for text in lines if text.strip()), 1):
        where = f"{path}: line {count}"
        if len(line) != 5 and (len(line) < 7 or len(line) % 2 == 0):
            raise ValueError(f"{where} has {len(line)} columns, expected a class and x, y, width, height, or a polygon")
        values = [number(text, f"{where}: a column") for text in line]
        k = int(values[0])
        if k != values[0] or k < 0 or (names is not None and k >= len(names)):
            raise ValueError(f"{where}: class {line[0]}, expected {f'0 to {len(names) - 1}' if names else '0 or more'}")
        if len(line) == 5:
            x, y, w, h = values[1:]
            x0, y0 = x - w / 2, y - h / 2
        else:
            xs, ys = values[1::2], values[2::2]
            x0, y0, w, h = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
        box = (x0 * width, y0 * height, (x0 + w) * width - 1, (y0 + h) * height - 1)
        objects.add(names[k] if names else str(k), _snapped(box), values[1:])
    return image, objects.annotation()


def _snapped(box: Sequence[float]) -> list[float]:
    """Round to a hundredth of a pixel, which removes the error of fractions written with six digits."""
    return [round(v, 2) for v in box]
