"""What `sppnet train` chooses for a data set where settings leave it open, and why."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data.records import Dataset
from detection.files import parse_json, write_atomically
from detection.model_settings import MODEL
from detection.plain_values import read
from sppnet.detector import choice_rules
from sppnet.detector.head_files import read_notes
from sppnet.detector.overwriting import load_finished
from sppnet.errors import one_line
from sppnet.progress import log
from sppnet.run import Run
from sppnet.settings.train import TrainSettings

FILE = "choices.json"  # in the run folder
NEGATIVES = 100  # hard ones per photo and class, that SVMs learn from
WINDOWS = 4000  # per class, that box regressors learn from
# always the same, so they are noted but not told
USUAL = (
    "max_negatives_per_image",
    "bbox_features",
    "bbox_windows",
    "inference",
    "energy",
    "mirror",
    "validation",
    "subspace",
    "block",
)
BLOCK, BLOCK_IN_SUBSPACE = 50, 250  # batches pooled at a time
ENERGY = 0.95  # share of the variance of fc6 and fc7


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
        flag = self.setting.replace("_", "-")
        if isinstance(self.value, bool):
            return f"--{'' if self.value else 'no-'}{flag}: {self.reason}"
        shown = " ".join(map(str, self.value)) if isinstance(self.value, tuple | list) else f"{self.value}"
        return f"--{flag} {'all' if self.value is None else shown}: {self.reason}"


def choose(run: Run, settings: TrainSettings) -> Choices:
    """Fill in the settings that are open, from the training photos alone.

    What the run's model was trained with or an earlier training chose stays, so that photos can be added without
    starting anew, unless settings ask to repeat finished work.

    Args:
        run: names the training split; keeps the choices.
        settings: of a training.
    """
    earlier = {} if settings.overwrite else _earlier(run.folder / FILE)
    known = {} if settings.overwrite else earlier | _of_model(run, settings, earlier)
    return Choices(run.train, settings, known).filled()


class Choices:
    """Settings whose open ones are filled in.

    Args:
        train: training photos.
        given: settings of a training.
        known: setting -> what was chosen before.

    Attributes:
        settings: without the open ones that were filled in.
        choices: what was chosen.
        free: those of them that were not known.
    """

    def __init__(self, train: Dataset, given: TrainSettings, known: Mapping[str, Choice]) -> None:
        self.train, self.given, self.known = train, given, known
        self.settings, self.choices, self.free = given, list[Choice](), dict[str, Choice]()

    def filled(self) -> Choices:
        """Fill in all settings, by the rules."""
        train = self.train
        self._fill("features", lambda: choice_rules.features(train))
        self._fill("proposals", lambda: choice_rules.windows(train, self.given))
        self._fill("scales", lambda: choice_rules.scales(train))
        self._fill("cost", lambda: choice_rules.cost(train))
        self._fill("max_negatives_per_image", lambda: (NEGATIVES, "more take longer and teach little"))
        self._fill("bbox_features", lambda: ("pool5", "places boxes best"))
        self._fill("bbox_windows", lambda: (WINDOWS, "more take longer and move boxes little"))
        self._fill("inference", lambda: ("fast", "windows vote for the box of their object"))
        if self.settings.features != "pool5":
            self._fill_for_layers()
        return self

    def instead(self, others: Mapping[str, Choice]) -> Choices:
        """The same settings with others in place of some that were free."""
        return Choices(self.train, self.given, {**self.known, **self.free, **others}).filled()

    def _fill_for_layers(self) -> None:
        """Fill in the settings of fully connected layers."""
        self._fill("energy", lambda: (ENERGY, "smaller and faster layers"))
        if self.settings.head is not None:
            return
        views = self.settings.train_views
        self._fill("mirror", lambda: (not views, "--train-views are given" if views else "twice the photos"))
        self._fill("schedule", lambda: choice_rules.schedule(self.train))
        self._fill("validation", lambda: choice_rules.validation(self.train))
        if self.settings.start == "random":
            self._fill("subspace", lambda: choice_rules.subspace(self.train))
        block = BLOCK_IN_SUBSPACE if self.settings.subspace else BLOCK
        self._fill("block", lambda: (block, "what memory allows"))

    def _fill(self, name: str, rule: Callable[[], tuple[Any, str]]) -> None:
        """Choose a setting if it is open: as before, or else by a rule."""
        if getattr(self.settings, name) is not None:
            return
        if name not in self.known:
            self.free[name] = Choice(name, *rule())
        choice = self.known.get(name) or self.free[name]
        self.settings = replace(self.settings, **{name: choice.value})
        self.choices.append(choice)


def tell(choices: Sequence[Choice]) -> None:
    """Log what was chosen."""
    for choice in choices:
        log.log(logging.DEBUG if choice.setting in USUAL else logging.INFO, "chosen: %s", choice)


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
        found: tuple[Choice, ...] = read(tuple[Choice, ...], parse_json(path.read_text("utf-8")))
        known = [c for c in found if c.setting in TrainSettings.kinds()]
        return {c.setting: replace(c, value=TrainSettings.checked(c.setting, c.value)) for c in known}
    except ValueError as error:
        log.warning("%s: damaged (%s); choosing anew", path, one_line(error))
        return {}


def _of_model(run: Run, settings: TrainSettings, earlier: Collection[str]) -> dict[str, Choice]:
    """Setting -> what the model of a run was trained with; none if there is no model.

    Args:
        run: of the model.
        settings: its name.
        earlier: settings that an earlier training chose, which may have been interrupted.
    """
    folder = run.model(settings.model_name)
    if not (folder / MODEL).is_file():
        return {}
    found = load_finished(folder)
    used: dict[str, Any] = {"scales": found.config.pooling.scales, "cost": found.config.svm.cost}
    used |= {"features": found.notes.get("layer", "pool5"), "energy": found.notes.get("energy")}
    used |= {"proposals": found.proposals["source"]} if "source" in found.proposals else {}
    used |= {"max_negatives_per_image": found.notes.get("max_negatives_per_image")}
    used |= {"bbox_features": "fc" if found.bbox_on_fc else "pool5"} if found.regressors else {}
    used |= {"bbox_windows": found.config.bbox.max_windows} if found.regressors else {}
    # Probabilities come after the model states how it is used; before, the statement may be missing.
    stated = bool(found.calibration) or "inference" not in earlier
    used |= {"inference": found.config.inference} if found.config.inference and stated else {}
    if found.fc and (notes := read_notes(run.head)) is not None:
        used |= _of_layers(notes)
    return {name: Choice(name, value, "as the model of this run") for name, value in used.items()}


def _of_layers(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Setting -> what layers were fine-tuned with."""
    steps = ",".join(f"{count}:{rate:g}" for count, rate in notes["finetune"]["schedule"])
    used = {"schedule": steps, "validation": notes["validation"], "mirror": bool(notes["mirror"])}
    return used | {"subspace": notes.get("subspace", 0), "block": notes["block"]}
