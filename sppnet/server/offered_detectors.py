"""The detectors that the server offers: bundled ones and model folders, described without loading them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from detection import zoo
from detection.config import Factor, Share
from detection.files import parse_json
from detection.model import CARD
from detection.model_settings import read_settings
from detection.plain_values import read
from sppnet.errors import one_line
from sppnet.settings.commands import BUNDLED


class Scores(TypedDict, total=False):
    """Scores of one stage."""

    voc07_map: Share | None


class StageScores(TypedDict, total=False):
    """Scores by stage, as far as they are shown."""

    regressed: Scores | None


class Card(TypedDict, total=False):
    """What a packed model says of itself, as far as it is shown."""

    scores: StageScores | None
    seconds_per_image: Factor | None


@dataclass(frozen=True)
class OfferedDetector:
    """A detector that requests can name, loaded or not.

    Attributes:
        name: as requests name it.
        folder: model folder.
        weights: of the convolutions: "pretrained", or a file.
        description: "network", "classes", "thresholds" (per class, None without probabilities), "map" (mean average
            precision on VOC 2007) and "seconds" (per photo); the last two are None if unknown.
    """

    name: str
    folder: Path
    weights: str | Path
    description: dict[str, Any]

    @classmethod
    def of(cls, name: str, weights: str | Path = "pretrained") -> OfferedDetector:
        """Look up a detector without loading it.

        Args:
            name: a bundled detector or a model folder.
            weights: of the convolutions: "pretrained", or a file.

        Raises:
            FileNotFoundError: there is no such model.
            ValueError: its files are damaged.
        """
        folder = zoo.folder_of(name)
        model, card = read_settings(folder), _read_card(folder / CARD)
        description = {
            "network": model.network,
            "classes": list(model.classes),
            "thresholds": list(model.calibration.thresholds) if model.calibration else None,
            "map": ((card.get("scores") or {}).get("regressed") or {}).get("voc07_map"),
            "seconds": card.get("seconds_per_image"),
        }
        return cls(name, folder, weights, description)


def offered_detectors(names: Iterable[str], weights: Path | None = None) -> dict[str, OfferedDetector]:
    """Return the detectors to offer by name, the default first.

    Args:
        names: bundled detectors and model folders, offered first; the other bundled detectors follow.
        weights: file with the convolutions of the named detectors; None: the pretrained ones.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: a model is damaged, or there are weights without a named model.
    """
    asked = list(names)
    if weights and not asked:
        raise ValueError(f"--weights {weights}: for which model? give --model as well")
    found = {name: OfferedDetector.of(name, weights or "pretrained") for name in asked}
    others = sorted(zoo.names(), key=lambda name: (name != BUNDLED, name))
    return found | {name: OfferedDetector.of(name) for name in others if name not in found}


def _read_card(path: Path) -> Card:
    """What is known of a packed model; empty if it has no card.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        found: Card = read(Card, parse_json(path.read_text("utf-8")))
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({one_line(error)})") from error
    return found
