"""What `sppnet train` chooses for a data set where settings leave it open, and why."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data.records import Dataset
from detection.files import write_atomically
from detection.model import MODEL, load
from sppnet.detector import choice_rules
from sppnet.detector.finetuning import SETTINGS
from sppnet.errors import one_line
from sppnet.progress import log
from sppnet.run import Run
from sppnet.settings.train import TrainSettings

FILE = "choices.json"  # in the run folder
NEGATIVES = 100  # hard ones per photo and class, that SVMs learn from
WINDOWS = 4000  # per class, that box regressors learn from
# always the same, so they are noted but not told
USUAL = ("max_negatives_per_image", "bbox_features", "bbox_windows", "inference", "energy", "mirror", "validation")
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
    made = Choices(run, settings)
    made.fill("features", choice_rules.features)
    made.fill("proposals", lambda train: choice_rules.windows(train, settings))
    made.fill("scales", choice_rules.scales)
    made.fill("cost", choice_rules.cost)
    made.fill("max_negatives_per_image", lambda train: (NEGATIVES, "more take longer and teach little"))
    made.fill("bbox_features", lambda train: ("pool5", "places boxes best"))
    made.fill("bbox_windows", lambda train: (WINDOWS, "more take longer and move boxes little"))
    made.fill("inference", lambda train: ("fast", "windows vote for the box of their object"))
    if made.settings.features != "pool5":
        _for_layers(made)
    return made.settings, made.choices


def _for_layers(made: Choices) -> None:
    """Fill in the settings of fully connected layers."""
    made.fill("energy", lambda train: (ENERGY, "smaller and faster layers"))
    if made.settings.head is None:
        views = made.settings.train_views
        made.fill("mirror", lambda train: (not views, "--train-views are given" if views else "twice the photos"))
        made.fill("schedule", choice_rules.schedule)
        made.fill("validation", choice_rules.validation)


class Choices:
    """Settings whose open ones are filled in, one by one.

    Args:
        run: names the training split; holds what was chosen before.
        settings: of a training.

    Attributes:
        settings: without the open ones that were filled in.
        choices: what was chosen.
    """

    def __init__(self, run: Run, settings: TrainSettings) -> None:
        self.settings, self.choices = settings, list[Choice]()
        self._train = run.train
        self._earlier = {} if settings.overwrite else _earlier(run.folder / FILE) | _of_model(run, settings)

    def fill(self, name: str, rule: Callable[[Dataset], tuple[Any, str]]) -> None:
        """Choose a setting if it is open: as before, or else by a rule."""
        if getattr(self.settings, name) is not None:
            return
        choice = self._earlier[name] if name in self._earlier else Choice(name, *rule(self._train))
        log.log(logging.DEBUG if name in USUAL else logging.INFO, "chosen: %s", choice)
        self.settings = replace(self.settings, **{name: choice.value})
        self.choices.append(choice)


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


def _of_model(run: Run, settings: TrainSettings) -> dict[str, Choice]:
    """Setting -> what the model of a run was trained with; none if there is no model."""
    folder = run.model(settings.model_name)
    if not (folder / MODEL).is_file():
        return {}
    found = load(folder)
    used: dict[str, Any] = {"scales": found.config.pooling.scales, "cost": found.config.svm.cost}
    used |= {"features": found.notes.get("layer", "pool5"), "energy": found.notes.get("energy")}
    used |= {"proposals": found.proposals["source"]} if "source" in found.proposals else {}
    used |= {"max_negatives_per_image": found.notes.get("max_negatives_per_image")}
    used |= {"bbox_features": "fc" if found.bbox_on_fc else "pool5"} if found.regressors else {}
    used |= {"bbox_windows": found.config.bbox.max_windows} if found.regressors else {}
    used |= {"inference": found.config.inference} if found.config.inference else {}
    if found.fc and (run.head / SETTINGS).is_file():
        used |= _of_layers(json.loads((run.head / SETTINGS).read_text("utf-8")))
    return {name: Choice(name, value, "as the model of this run") for name, value in used.items()}


def _of_layers(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Setting -> what layers were fine-tuned with."""
    steps = ",".join(f"{count}:{rate:g}" for count, rate in notes["finetune"]["schedule"])
    return {"schedule": steps, "validation": notes["validation"], "mirror": bool(notes["mirror"])}
