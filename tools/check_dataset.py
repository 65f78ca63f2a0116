"""Look a data set over before training: what it holds, what is wrong with it, and a sheet of its photos.

The exit code is 1 where photos are unusable or the same photo is in two splits.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

import numpy as np

from tools import common

if TYPE_CHECKING:
    from data.records import Dataset

NAMED = 5  # of each kind of fault; the json has all
SHOWN, COLUMNS = (400, 300), 4  # pixels of a photo on the sheet, and how many are in a row


def run(options: common.Options) -> dict[str, Any]:
    """Counts and faults of every split."""
    from data import checks, datasets

    read: dict[str, Dataset] = {}
    for split in options.splits or datasets.usual(options.data):
        classes = next(iter(read.values())).classes if read else None
        read[split] = datasets.load(options.data, split, classes=classes, skip_bad=True)
    counts = {split: checks.class_counts(dataset) for split, dataset in read.items()}
    print(table(read, counts))
    faults = {split: faults_of(dataset) for split, dataset in read.items()}
    groups = checks.same_files({split: [r.path for r in dataset] for split, dataset in read.items()})
    shared = [g for g in groups if len({split for split, _ in g}) > 1]
    for split, found in faults.items():
        for what, items in found.items():
            show(f"{split}: {len(items)} {what}", list(items.values()) if isinstance(items, dict) else items)
    show(f"{len(shared)} photos in several splits", [" = ".join(str(path) for _, path in group) for group in shared])
    if options.sheet:
        draw(options, read)
        print(f"sheet of photos: {options.sheet}")
    result = {"counts": counts, "faults": faults, "in_several_splits": [[[s, str(p)] for s, p in g] for g in shared]}
    unusable = sum(len(found["unusable photos"]) for found in faults.values())
    if unusable or shared:
        message = f"{options.data}: {unusable} unusable photos, {len(shared)} in several splits; mend the data set"
        raise common.Incomplete(f"{message}, or give --skip-bad to the tools that follow", result)
    return result


def table(read: dict[str, Dataset], counts: dict[str, dict[str, dict[str, int]]]) -> str:
    """Images and objects of every class and split."""
    columns = ("images", "objects", "difficult", "small", "medium", "large")
    lines = []
    for split, dataset in read.items():
        empty = sum(not len(r.boxes) for r in dataset)
        lines.append(f"{dataset.name}: {len(dataset)} photos, {empty} of them without an object")
        width = max(map(len, (*dataset.classes, "class")))
        lines.append("  ".join([f"{'class':<{width}}", *(f"{c:>9}" for c in columns)]))
        for name, row in counts[split].items():
            lines.append("  ".join([f"{name:<{width}}", *(f"{row[c]:>9}" for c in columns)]))
    return "\n".join(lines)


def faults_of(dataset: Dataset) -> dict[str, Any]:
    """Kind of fault -> where."""
    from data import checks
    from detection import image

    unusable = dict(dataset.bad)
    for record in dataset:
        try:
            image.read(record.path, record.size)
        except (OSError, ValueError) as error:
            unusable[record.id] = common.one_line(error)
    return {
        "unusable photos": unusable,
        "boxes that mark nothing": list(dataset.dropped),
        "boxes over the border": list(dataset.clipped),
        "photos with an object twice": checks.repeated_objects(dataset),
    }


def show(what: str, items: list[str]) -> None:
    """A line and some examples, if there is something to tell."""
    if items:
        print("\n  ".join([what, *items[:NAMED], *(["…"] if len(items) > NAMED else [])]))


def draw(options: common.Options, read: dict[str, Dataset]) -> None:
    """A sheet of photos with their objects."""
    from PIL import Image, ImageOps

    from detection import image
    from detection.detections import Detections
    from detection.files import write_atomically
    from detection.pictures import drawing
    from detection.pictures.contact_sheet import tile

    places = [(split, record) for split, dataset in read.items() for record in dataset]
    random.Random(options.seed).shuffle(places)
    pictures: list[np.ndarray] = []
    captions: list[str] = []
    for split, record in places:
        if len(pictures) == options.photos:
            break
        try:
            photo = image.read(record.path, record.size)
        except (OSError, ValueError):
            continue
        drawn = drawing.draw_comparison(photo, Detections.empty(), record, read[split].classes)
        pictures.append(np.asarray(ImageOps.pad(Image.fromarray(drawn), SHOWN, color="white")))
        captions.append(f"{split}: {record.id}")
    buffer = io.BytesIO()
    Image.fromarray(tile(pictures, captions, COLUMNS)).save(buffer, "png")
    options.sheet.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.sheet, [buffer.getvalue()])


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    p: argparse.ArgumentParser = common.parser((__doc__ or "").split("\n", 1)[0])
    p.add_argument("data", type=Path, metavar="PATH", help="VOC's, COCO's or YOLO's layout, or a CSV table of boxes")
    p.add_argument("--splits", nargs="+", metavar="NAME", help="(those for training and test)")
    p.add_argument("--sheet", type=Path, metavar="PNG", help="draw photos with their objects")
    p.add_argument("--photos", type=int, default=24, metavar="N", help="on the sheet (%(default)s)")
    p.add_argument("--seed", type=common.seed, default=0, help="of the choice of photos (%(default)s)")
    return common.main(run, p, argv)


if __name__ == "__main__":
    sys.exit(main())
