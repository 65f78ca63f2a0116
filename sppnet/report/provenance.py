"""How a run was made, from its json files: settings, versions, hardware, time and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sppnet.report.run_files import read_json
from sppnet.report.tested_run import TestedRun

TRAIN = "train.json"
STAGES = ("windows", "features", "SVMs", "box regressors", "test")
"""Stages that every training goes through, as train.json calls them."""
STAGE_TITLES = {"windows": "proposals"}  # what the report calls them, where it differs

SETTINGS = {
    "network": ("network",),
    "weights": ("weights_hash",),
    "scales (short sides), px": ("config", "pooling", "scales"),
    "precision of the convolutions": ("config", "precision"),
    "preset": ("config", "preset"),
    "features": ("features",),
    "pyramid levels": ("config", "pooling", "levels"),
    "larger windows, times the window": ("config", "pooling", "context"),
    "trained on": ("notes", "data"),
    "training photos": ("notes", "images"),
    "proposals": ("proposals", "source"),
    "proposals per photo, at most": ("proposals", "max_boxes"),
    "SVM cost": ("config", "svm", "cost"),
    "SVM negatives, IoU below": ("config", "svm", "negative_iou"),
    "SVM solver": ("notes", "solver"),
    "box regression": ("box_regression",),
    "ridge penalty of box regression": ("config", "bbox", "ridge"),
    "lowest score kept": ("config", "test", "score_threshold"),
    "suppression at IoU above": ("config", "test", "nms_iou"),
    "detections per photo and class, at most": ("config", "test", "max_per_image"),
}

LARGEST = 1e18  # bytes or seconds; false for NaN
HASH_DIGITS = 12  # enough to identify weights


@dataclass(frozen=True)
class Usage:
    """Time and memory of one stage or command.

    Attributes:
        name: the stage or command.
        seconds: wall-clock time, processor time if `source` says so; None if not recorded.
        memory: peak of a process, bytes; None if not recorded.
        source: the file that says so.
    """

    name: str
    seconds: float | None
    memory: int | None
    source: str


def settings(model: Mapping[str, Any]) -> dict[str, str]:
    """Return the most important settings as text, from the content of model.json; missing ones are left out."""
    found = {}
    for name, keys in SETTINGS.items():
        value: Any = model
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            found[name] = _text(value)
    if "weights" in found:
        found["weights"] = found["weights"][:HASH_DIGITS]
    return found


def machine(folder: Path) -> tuple[str, dict[str, str], dict[str, str]]:
    """Return the json file that states versions and hardware, with both; empty values if there is none."""
    for path in [folder / TRAIN, *sorted(folder.glob("*.json"))]:
        noted = read_json(path)
        versions, hardware = noted.get("versions"), noted.get("hardware")
        if isinstance(versions, dict) and isinstance(hardware, dict):
            return path.name, _known(versions), _known(hardware)
    return "", {}, {}


def time_and_memory(tested: TestedRun) -> tuple[list[Usage], list[Usage]]:
    """Return the time of each stage, and time and memory of each command with a json report in the run folder."""
    noted = _stage_times(tested)
    names = dict.fromkeys([*noted, *STAGES] if len(noted) > len(STAGES) else [*STAGES, *noted])
    stages = [noted.get(name, Usage(_title(name), None, None, "")) for name in names]
    commands = []
    for path in sorted(tested.run.folder.glob("*.json")):
        report = read_json(path)
        if "versions" in report and _is_number(report.get("seconds")):
            memory = report.get("peak_memory_bytes")
            commands.append(Usage(path.stem, report["seconds"], memory if _is_number(memory) else None, path.name))
    return stages, commands


def _stage_times(tested: TestedRun) -> dict[str, Usage]:
    """Stage -> its time, from train.json, or else from what the stages noted themselves."""
    folder = tested.run.folder
    result = read_json(folder / TRAIN).get("result")
    seconds = result.get("stage_seconds") if isinstance(result, dict) else None
    if isinstance(seconds, dict):
        return {name: Usage(_title(name), s, None, TRAIN) for name, s in seconds.items() if _is_number(s)}
    found: dict[str, Usage] = {}
    searched = [read_json(p) for p in sorted(folder.glob("proposals/*/*.seconds.json"))]
    known = [s for s in searched if _is_number(s.get("seconds_per_image")) and _is_number(s.get("images"))]
    if known:
        total = sum(s["seconds_per_image"] * s["images"] for s in known)
        found["windows"] = Usage(_title("windows"), total, None, "proposals/*/*.seconds.json, processor time")
    solving = (tested.model.get("notes") or {}).get("svm_seconds")
    if _is_number(solving):
        found["SVMs"] = Usage("SVMs", solving, None, "model.json")
    return found


def _title(stage: str) -> str:
    return STAGE_TITLES.get(stage, stage)


def _is_number(value: Any) -> bool:
    """Whether a value is a number of seconds, bytes or photos."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _known(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in values.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value)
