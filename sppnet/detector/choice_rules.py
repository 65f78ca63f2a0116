"""The rules by which `sppnet train` chooses settings from the training photos."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.records import Dataset, ImageRecord
from detection.boxes import iou
from detection.config import PAPER
from detection.image import read
from detection.parallel import thread_count
from proposals import grid, sources
from sppnet.settings.detector import Features
from sppnet.settings.train import TrainSettings

STRIDE = 16  # pixels per cell
WIDE_ENOUGH = 6.0  # cells that the objects of every class should span; pool5 has six bins per side
SIDES = (688, 864, 1200)  # short sides in pixels
COUNTED = 5  # objects that a class needs to have a say in the size
MEASURED = 40  # photos on which windows are compared
GAIN = 0.03  # in mean overlap, for which twice the windows are worth their time
COSTS = (0.001, 0.02)  # lowest and highest C
COST_PHOTOS = 4.0  # C times the number of photos
TUNED = 20  # objects from which on layers are fine-tuned
CLASSES = 30  # up to so many, SVMs on pool5 do not take much longer than those on fc7
ITERATIONS = (300, 8000)  # fewest and most of fine-tuning
OBJECTS = 3  # per iteration
SPANNING = 2048  # training windows, in whose span fc6 learns faster, and better
FEW_OBJECTS = 5000  # up to so many
SLOWLY = 3  # the last of so many parts of the iterations has a tenth of the learning rate
HELD_OUT = 60  # photos of validation
SHARES = (0.1, 0.15)  # smallest and largest of validation
FEWEST = 6  # photos of validation, from which probabilities can be learned, as long as they are no larger share than
MOST = 0.3
Floats = NDArray[np.float64]


def features(train: Dataset) -> tuple[Features, str]:
    """What the SVMs learn from: pool5 and fine-tuned fc7, unless there is next to nothing to fine-tune on.

    With many classes fc7 alone, as the SVMs on pool5 would take longer than all the rest.
    """
    count, classes = sum(len(record.boxes) for record in train), len({k for r in train for k in r.labels.tolist()})
    if count >= TUNED and classes > CLASSES:
        return "fc7", f"{count} objects; SVMs of {classes} classes on pool5 take long"
    return ("pool5+fc7" if count >= TUNED else "pool5"), f"{count} objects"


def schedule(train: Dataset) -> tuple[str, str]:
    """Iterations of fine-tuning for the number of objects."""
    objects = sum(len(record.boxes) for record in train)
    total = int(np.clip(objects // OBJECTS, *ITERATIONS))
    slow = total // SLOWLY
    return f"{total - slow}:1e-2,{slow}:1e-3", f"{objects} objects"


def validation(train: Dataset) -> tuple[float, str]:
    """Share of the photos on which the best iteration is chosen, and whose scores tell probabilities."""
    share = max(float(np.clip(HELD_OUT / len(train), *SHARES)), min(MOST, FEWEST / len(train)))
    return round(share, 3), f"{round(share * len(train))} of {len(train)} photos"


def subspace(train: Dataset) -> tuple[int, str]:
    """The training windows in whose span fc6 learns; 0, all of pool5, where there is much to learn."""
    objects = sum(len(record.boxes) for record in train)
    return (SPANNING if objects <= FEW_OBJECTS else 0), f"{objects} objects"


def scales(train: Dataset) -> tuple[tuple[int, ...], str]:
    """The smallest short side at which the objects of every class span enough cells."""
    default = PAPER.with_scales((SIDES[0],)).pooling.scales
    widths = relative_widths(train)
    if not widths:
        return default, f"fewer than {COUNTED} objects per class, so the default"
    name, width = min(widths.items(), key=lambda item: item[1])
    cells = width * SIDES[0] / STRIDE
    side = next((side for side in SIDES if width * side / STRIDE >= WIDE_ENOUGH), SIDES[-1])
    told = f"{name}, the smallest class, is {cells:.1f} cells wide at {SIDES[0]}"
    return (side,), told if side == SIDES[0] else f"{told} and {width * side / STRIDE:.1f} at {side}"


def relative_widths(train: Dataset) -> dict[str, float]:
    """Class -> median shorter side of its objects, relative to the short side of the photo."""
    found: dict[str, list[float]] = {name: [] for name in train.classes}
    for record in train:
        sides = (record.boxes[:, 2:] - record.boxes[:, :2] + 1).min(axis=1) / min(record.size)
        for label, side in zip(record.labels.tolist(), sides.tolist(), strict=True):
            found[train.classes[label]].append(side)
    return {name: float(np.median(sides)) for name, sides in found.items() if len(sides) >= COUNTED}


def cost(train: Dataset) -> tuple[float, str]:
    """C in inverse proportion to the number of photos, because the loss is a sum over their windows."""
    chosen = round(float(np.clip(COST_PHOTOS / max(1, len(train)), *COSTS)), 4)
    return chosen, f"{len(train)} photos"


def windows(train: Dataset, settings: TrainSettings) -> tuple[str, str]:
    """The source whose windows overlap the objects most, on some training photos."""
    usable = [record for record in train if len(record.boxes)]
    if not usable:
        return "ss", "no objects"
    laid = grid.learn([r.boxes for r in usable], [r.size for r in usable], settings.seed)
    chosen = [usable[i] for i in np.linspace(0, len(usable) - 1, min(MEASURED, len(usable))).astype(int)]
    search = sources.ProposalSettings("ss", settings.max_boxes, settings.min_side, settings.max_side, settings.seed)
    searched = np.concatenate([_searched(record, search) for record in chosen])
    of_grid = np.concatenate([laid.best_overlaps(record.boxes, record.size) for record in chosen])
    means = {"ss": searched.mean(), "grid": of_grid.mean(), "ss+grid": np.maximum(searched, of_grid).mean()}
    best = max(("grid", "ss"), key=lambda name: means[name])
    best = "ss+grid" if means["ss+grid"] >= means[best] + GAIN else best
    return best, "mean overlap with the objects " + ", ".join(f"{name} {mean:.2f}" for name, mean in means.items())


def _searched(record: ImageRecord, search: sources.ProposalSettings) -> Floats:
    """IoU of each object of an image with the best window of a search; zero if the photo cannot be read."""
    try:
        boxes = sources.propose(read(record.path, record.size), search, thread_count())
    except (OSError, ValueError):
        return np.zeros(len(record.boxes))  # the stage that needs the photo says so
    return iou(record.boxes, boxes).max(axis=1, initial=0)
