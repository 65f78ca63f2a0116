"""What `sppnet train` chooses for a data set where settings leave it open, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import Dataset, ImageRecord
from detection.boxes import iou
from detection.config import PAPER
from detection.files import write_atomically
from detection.image import read
from detection.model import MODEL, load
from detection.parallel import thread_count
from proposals import grid, sources
from sppnet.errors import one_line
from sppnet.progress import log
from sppnet.run import Run
from sppnet.settings.detector import TrainSettings

FILE = "choices.json"  # in the run folder
STRIDE = 16  # pixels per cell
WIDE_ENOUGH = 6.0  # cells that the objects of every class should span; pool5 has six bins per side
SIDES = (688, 864, 1200)  # short sides in pixels
COUNTED = 5  # objects that a class needs to have a say in the size
MEASURED = 40  # photos on which windows are compared
GAIN = 0.03  # in mean overlap, for which twice the windows are worth their time
COSTS = (0.001, 0.02)  # lowest and highest C
NEGATIVES = 100  # hard ones per photo and class, that SVMs learn from
WINDOWS = 4000  # per class, that box regressors learn from
COST_PHOTOS = 4.0  # C times the number of photos
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """One setting that was chosen.

    Attributes:
        setting: its name.
        value: what it was set to.
        reason: why, in a few words.
    """

    setting: str
    value: Any
    reason: str

    def __str__(self) -> str:
        shown = " ".join(map(str, self.value)) if isinstance(self.value, tuple | list) else f"{self.value}"
        shown = "all" if self.value is None else shown
        return f"--{self.setting.replace('_', '-')} {shown}: {self.reason}"


def choose(run: Run, settings: TrainSettings) -> tuple[TrainSettings, list[Choice]]:
    """Fill in the settings that are open, from the training photos alone.

    What the run's model was trained with or an earlier training chose stays, so that photos can be added without
    starting anew, unless settings ask to repeat finished work.

    Args:
        run: names the training split; keeps the choices.
        settings: of a training.

    Returns:
        the settings without open ones; and what was chosen.
    """
    rules: dict[str, Callable[[Dataset], tuple[Any, str]]] = {
        "proposals": lambda train: _windows(train, settings),
        "scales": _scales,
        "cost": _cost,
        "max_negatives_per_image": lambda train: (NEGATIVES, "more take longer and teach little"),
        "bbox_windows": lambda train: (WINDOWS, "more take longer and move boxes little"),
        "inference": lambda train: ("fast", "windows vote for the box of their object"),
    }
    open_ones = [name for name in rules if getattr(settings, name) is None]
    if not open_ones:
        return settings, []
    earlier = {} if settings.overwrite else _earlier(run.folder / FILE) | _of_model(run.model(settings.model_name))
    train = run.train
    made = [earlier[name] if name in earlier else Choice(name, *rules[name](train)) for name in open_ones]
    for choice in made:
        log.info("chosen: %s", choice)
    return replace(settings, **{choice.setting: choice.value for choice in made}), made


def keep(run: Run, choices: list[Choice]) -> None:
    """Write the choices into the run folder, for later trainings and the report."""
    if choices:
        run.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps([asdict(choice) for choice in choices], indent=1)
        write_atomically(run.folder / FILE, [f"{text}\n".encode()])


def _earlier(path: Path) -> dict[str, Choice]:
    """Setting -> what an earlier training chose; none if there was none or the file is damaged."""
    if not path.is_file():
        return {}
    try:
        found = [Choice(str(c["setting"]), c["value"], str(c["reason"])) for c in json.loads(path.read_text("utf-8"))]
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s: damaged (%s); choosing anew", path, one_line(error))
        return {}
    values = {c.setting: tuple(c.value) if isinstance(c.value, list) else c.value for c in found}
    return {c.setting: replace(c, value=values[c.setting]) for c in found}


def _of_model(folder: Path) -> dict[str, Choice]:
    """Setting -> what the model in a folder was trained with; none if there is no model."""
    if not (folder / MODEL).is_file():
        return {}
    found = load(folder)
    used: dict[str, Any] = {"scales": found.config.pooling.scales, "cost": found.config.svm.cost}
    used |= {"proposals": found.proposals["source"]} if "source" in found.proposals else {}
    used |= {"max_negatives_per_image": found.notes.get("max_negatives_per_image")}
    used |= {"bbox_windows": found.config.bbox.max_windows} if found.regressors else {}
    used |= {"inference": found.config.inference} if found.config.inference else {}
    return {name: Choice(name, value, "as the model of this run") for name, value in used.items()}


def _scales(train: Dataset) -> tuple[tuple[int, ...], str]:
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


def _cost(train: Dataset) -> tuple[float, str]:
    """C in inverse proportion to the number of photos, because the loss is a sum over their windows."""
    cost = round(float(np.clip(COST_PHOTOS / max(1, len(train)), *COSTS)), 4)
    return cost, f"{len(train)} photos"


def _windows(train: Dataset, settings: TrainSettings) -> tuple[str, str]:
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
