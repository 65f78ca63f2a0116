"""MiniVOC: generated scenes with objects of six classes, written as a genuine VOCdevkit.

With it the whole pipeline can be demonstrated and tested without any download. Objects vary in size, aspect ratio,
colour and pose, occlude each other, are truncated at the border, and stand among distractors that are not annotated.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from data.minivoc.scenes import Scene, SceneObject, compose
from data.temporary import temporary_folder

YEAR = "VOC2007"
MARKER = "minivoc.json"
JPEG_QUALITY = 90
VERSION = 1  # of the images; incremented whenever the same seed gives other images
SPLITS = {"trainval": 0, "test": 1}


def generate(root: str | os.PathLike[str], train: int = 120, test: int = 60, seed: int = 0) -> Path:
    """Write the data set, unless it exists already.

    Each image has its own random seed, so a larger data set begins with the images of a smaller one.

    Args:
        root: devkit folder to write; the data set is in its folder VOC2007.
        train: number of images in the split "trainval".
        test: number of images in the split "test".
        seed: random seed; the same seed gives the same bytes.

    Returns:
        `root`, for `voc.load`.

    Raises:
        ValueError: a number of images is below one, or the seed is negative.
        FileExistsError: the folder holds other files, MiniVOC with other settings, or an incomplete MiniVOC.
        OSError: the files cannot be written.
    """
    root = Path(root)
    settings = {"version": VERSION, "trainval": train, "test": test, "seed": seed}
    if train < 1 or test < 1:
        raise ValueError(f"MiniVOC: expected at least one image per split, got {train} and {test}")
    if seed < 0:
        raise ValueError(f"MiniVOC: expected a seed of 0 or more, got {seed}")
    if root.exists() and any(root.iterdir()):
        _check_same(root, settings)
        return root
    making = temporary_folder(root)
    try:
        for split, number in SPLITS.items():
            _write_split(making / YEAR, split, settings[split], [seed, number])
        (making / MARKER).write_text(json.dumps(settings) + "\n")
        if root.exists():
            root.rmdir()
        making.rename(root)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return root


def _check_same(root: Path, settings: dict[str, int]) -> None:
    try:
        found = json.loads((root / MARKER).read_text())
    except (OSError, ValueError):
        found = None
    if found != settings:
        what = "MiniVOC with other settings" if found else "other files than MiniVOC"
        raise FileExistsError(f"{root}: holds {what}; choose another folder, or delete it")
    wanted = sum(settings[split] for split in SPLITS)
    for pattern in ("JPEGImages/*.jpg", "Annotations/*.xml"):
        count = sum(1 for _ in (root / YEAR).glob(pattern))
        if count != wanted:
            raise FileExistsError(
                f"{root}: holds {count} {pattern}, expected {wanted}; delete the folder and run again"
            )


def _write_split(year: Path, split: str, n: int, seed: list[int]) -> None:
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (year / name).mkdir(parents=True, exist_ok=True)
    ids = [f"{split}_{i:05d}" for i in range(n)]
    for i, image_id in enumerate(ids):
        scene = compose(np.random.default_rng([*seed, i]))
        Image.fromarray(scene.image).save(year / "JPEGImages" / f"{image_id}.jpg", quality=JPEG_QUALITY)
        (year / "Annotations" / f"{image_id}.xml").write_bytes(_annotation(image_id, scene))
    (year / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{i}\n" for i in ids))


def _annotation(image_id: str, scene: Scene) -> bytes:
    """Return the XML annotation of an image, with the devkit's elements in the devkit's order."""
    root = ElementTree.Element("annotation")
    _add(root, "folder", YEAR)
    _add(root, "filename", f"{image_id}.jpg")
    source = _add(root, "source")
    _add(source, "database", "MiniVOC, generated")
    size = _add(root, "size")
    for name, value in zip(("height", "width", "depth"), scene.image.shape, strict=True):
        _add(size, name, value)
    _add(root, "segmented", 0)
    for thing in scene.objects:
        _add_object(root, thing)
    ElementTree.indent(root, "\t")
    return ElementTree.tostring(root) + b"\n"


def _add_object(root: ElementTree.Element, thing: SceneObject) -> None:
    element = _add(root, "object")
    _add(element, "name", thing.name)
    _add(element, "pose", thing.pose)
    _add(element, "truncated", int(thing.truncated))
    _add(element, "difficult", int(thing.difficult))
    box = _add(element, "bndbox")
    for name, value in zip(("xmin", "ymin", "xmax", "ymax"), thing.box, strict=True):
        _add(box, name, value + 1)  # VOC counts pixels from 1


def _add(parent: ElementTree.Element, name: str, text: object = None) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, name)
    if text is not None:
        element.text = str(text)
    return element
