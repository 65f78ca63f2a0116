"""The detectors that the server offers: bundled ones and model folders, described without loading them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection import zoo
from detection.files import parse_json
from detection.model import CARD
from detection.model_settings import MODEL
from sppnet.errors import one_line
from sppnet.settings.commands import BUNDLED


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
        if not (folder / MODEL).is_file():
            raise FileNotFoundError(f"{folder / MODEL}: no such model; train one with `sppnet train`, or name another")
        model = _read_object(folder / MODEL)
        card = _read_object(folder / CARD) if (folder / CARD).is_file() else {}
        if not {"network", "classes"} <= model.keys():
            raise ValueError(f"{folder / MODEL}: damaged (expected a network and classes)")
        description = {
            "network": model["network"],
            "classes": model["classes"],
            "thresholds": (model.get("calibration") or {}).get("thresholds"),
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


def _read_object(path: Path) -> dict[str, Any]:
    """The object in a json file.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        value = parse_json(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({one_line(error)})") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: damaged (expected an object)")
    return value
