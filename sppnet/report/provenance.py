"""How a run was made, as far as its json files tell: settings, versions, time and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sppnet.report.tested_run import Tested, read_json

TRAIN = "train.json"
STAGES = ("windows", "features", "SVMs", "box regressors", "test")
"""Of tools/pipeline.py, those that every run goes through."""

SETTINGS = {
    "network": ("network",),
    "weights": ("weights_hash",),
    "short sides of the photo, px": ("config", "pooling", "scales"),
    "precision of the convolutions": ("config", "precision"),
    "preset": ("config", "preset"),
    "features": ("features",),
    "pyramid levels": ("config", "pooling", "levels"),
    "trained on": ("notes", "data"),
    "training photos": ("notes", "images"),
    "windows": ("proposals", "source"),
    "windows a photo, at most": ("proposals", "max_boxes"),
    "SVM cost": ("config", "svm", "cost"),
    "SVM negatives below IoU": ("config", "svm", "negative_iou"),
    "SVM solver": ("notes", "solver"),
    "box regression": ("box_regression",),
    "ridge of the regression": ("config", "bbox", "ridge"),
    "least score kept": ("config", "test", "score_threshold"),
    "suppression above IoU": ("config", "test", "nms_iou"),
    "detections a photo and class, at most": ("config", "test", "max_per_image"),
}

HASH = 12  # letters of it that tell weights apart


@dataclass(frozen=True)
class Spent:
    """Time and memory of one stage or command; None where they were not noted."""

    what: str
    seconds: float | None
    memory: int | None
    source: str


def settings(model: Mapping[str, Any]) -> dict[str, str]:
    """The settings that matter most, in words; those that model.json does not tell are left out."""
    found = {}
    for name, keys in SETTINGS.items():
        value: Any = model
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            found[name] = _words(value)
    if "weights" in found:
        found["weights"] = found["weights"][:HASH]
    return found


def machine(folder: Path) -> tuple[str, dict[str, str], dict[str, str]]:
    """Name of the json file of a command that tells most, versions and hardware; empty where there is none."""
    for path in [folder / TRAIN, *sorted(folder.glob("*.json"))]:
        noted = read_json(path) or {}
        versions, hardware = noted.get("versions"), noted.get("hardware")
        if isinstance(versions, dict) and isinstance(hardware, dict):
            return path.name, _known(versions), _known(hardware)
    return "", {}, {}


def spent(tested: Tested) -> tuple[list[Spent], list[Spent]]:
    """Time of each stage, noted or not; and time and memory of the commands whose json files lie in the run."""
    noted = _stages(tested)
    names = dict.fromkeys([*noted, *STAGES] if len(noted) > len(STAGES) else [*STAGES, *noted])
    stages = [noted.get(name, Spent(name, None, None, "")) for name in names]
    commands = []
    for path in sorted(tested.run.folder.glob("*.json")):
        told = read_json(path) or {}
        if "versions" in told and _is_number(told.get("seconds")):
            memory = told.get("peak_memory_bytes")
            commands.append(Spent(path.stem, told["seconds"], memory if _is_number(memory) else None, path.name))
    return stages, commands


def _stages(tested: Tested) -> dict[str, Spent]:
    """Stage -> what was noted of it: by the command of all stages, or else by the stages themselves."""
    folder = tested.run.folder
    result = (read_json(folder / TRAIN) or {}).get("result")
    seconds = result.get("stage_seconds") if isinstance(result, dict) else None
    if isinstance(seconds, dict):
        return {name: Spent(name, s, None, TRAIN) for name, s in seconds.items() if _is_number(s)}
    found: dict[str, Spent] = {}
    searched = [read_json(p) or {} for p in sorted(folder.glob("proposals/*/*.seconds.json"))]
    known = [s for s in searched if _is_number(s.get("seconds_per_image")) and _is_number(s.get("images"))]
    if known:
        total = sum(s["seconds_per_image"] * s["images"] for s in known)
        found["windows"] = Spent("windows", total, None, "proposals/*/*.seconds.json, processor time")
    solving = (tested.model.get("notes") or {}).get("svm_seconds")
    if _is_number(solving):
        found["SVMs"] = Spent("SVMs", solving, None, "model.json")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _known(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in values.items() if value is not None}


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return str(value)
