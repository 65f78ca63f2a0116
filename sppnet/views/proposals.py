"""Views of a photo's proposals and of the regions that they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.records import ImageRecord
from data.voc_xml import read_annotation
from detection import image
from detection.detections import Detections
from detection.pictures import drawing
from proposals import io, sources
from proposals.pictures import level_sheet
from proposals.recall import best_boxes
from sppnet.run import names_file
from sppnet.settings.views import LevelViewSettings, ProposalViewSettings
from sppnet.views import View


def proposal_view(settings: ProposalViewSettings) -> View:
    """Draw the best proposal for each annotated object; without an annotation, the best-ranked proposals.

    Returns:
        the picture, and as facts the number of boxes and what is drawn: with an annotation the IoU and rank of each
        object's best box, otherwise how many boxes.

    Raises:
        FileNotFoundError: the devkit has no annotation of the photo.
        OSError, ValueError: a file cannot be used, it has no boxes of the photo, or the annotation is ambiguous.
    """
    annotation = find_annotation(settings)
    return _best_ranked(settings) if annotation is None else _best_for_objects(settings, annotation)


def level_view(settings: LevelViewSettings) -> View:
    """Draw the regions of a photo as selective search merges them, tiled into one sheet.

    Raises:
        OSError, ValueError: the photo cannot be read.
    """
    s = settings
    sheet = level_sheet(image.read(s.image), s.regions, s.space, s.fill, s.seed, s.columns)
    return View(sheet, {"height": sheet.shape[0], "width": sheet.shape[1]})


def find_annotation(settings: ProposalViewSettings) -> Path | None:
    """The annotation file that settings name, or the one in their devkit that has the photo's name.

    Returns:
        the file; None if the settings name neither a file nor a devkit.

    Raises:
        FileNotFoundError: the devkit has none.
        ValueError: it has several, of different years.
    """
    if settings.annotation or not (settings.devkit or settings.voc2007):
        return settings.annotation
    root = settings.devkit or settings.data_root / "VOCdevkit"
    name = f"{settings.image.stem}.xml"
    folders = [root, *([root / "VOC2007"] if settings.voc2007 else sorted(root.glob("VOC*")))]
    found = [path for folder in folders if (path := folder / "Annotations" / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{root}: no annotation {name} there; name the file with --annotation")
    if len(found) > 1:
        raise ValueError(f"{root}: has {' and '.join(map(str, found))}; name one with --annotation")
    return found[0]


def _best_ranked(settings: ProposalViewSettings) -> View:
    photo = image.read(settings.image)
    boxes = _boxes(photo, settings)
    drawn = boxes[: settings.top]
    ranks = [str(rank) for rank in range(1, 1 + len(drawn))]
    picture = drawing.draw(photo, drawn[::-1], ranks[::-1])  # the best last, on top
    return View(picture, {"boxes": len(boxes), "drawn": len(drawn)})


def _best_for_objects(settings: ProposalViewSettings, annotation: Path) -> View:
    record, names = _record(settings.image, annotation)
    photo = image.read(settings.image, record.size)
    boxes = _boxes(photo, settings)
    best, overlaps = best_boxes(boxes, record.boxes)
    found = Detections(boxes[best], overlaps, record.labels + len(names))
    picture = drawing.draw_comparison(photo, found, record, [*names, *(f"{name} IoU" for name in names)])
    objects = [
        {"class": name, "difficult": bool(difficult), "iou": overlap, "rank": rank + 1}
        for name, difficult, overlap, rank in zip(
            names, record.difficult, overlaps.tolist(), best.tolist(), strict=True
        )
    ]
    return View(picture, {"boxes": len(boxes), "objects": objects})


def _record(photo: Path, annotation: Path) -> tuple[ImageRecord, list[str]]:
    """A photo with its objects, each as a class of its own so that it has its own colour, and their names."""
    a = read_annotation(annotation, photo)
    boxes, labels = a.boxes.astype(np.float32), np.arange(len(a.names))
    return ImageRecord(photo.stem, photo, a.size, boxes, labels, a.difficult), list(a.names)


def _boxes(photo: NDArray[np.uint8], settings: ProposalViewSettings) -> NDArray[np.float32]:
    """The photo's boxes, best first: read from a file, or searched now."""
    source = settings.proposals
    if not names_file(source):
        return sources.propose(photo, sources.ProposalSettings(source, max_boxes=settings.max_boxes))
    boxes, _ = io.load(source, settings.order)
    image_id = settings.image.stem
    if image_id not in boxes:
        raise ValueError(f"{source}: no boxes of image {image_id!r}, only of {len(boxes)} others; give another file")
    return boxes[image_id][: settings.max_boxes]
