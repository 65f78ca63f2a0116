"""Json and YAML files that commands left in a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data.yaml_files import load_yaml
from sppnet.errors import one_line
from sppnet.progress import log

DATA = ("data", "devkit", "voc2007")  # settings that name a data set
TAKEN = (*DATA, "data_root", "images", "metric")


def recorded(folder: Path) -> dict[str, Any]:
    """Return which data a run was tested on, from the newest file that says so.

    Such files are the json reports and the resolved settings (YAML) of commands that have a test split.

    Args:
        folder: a run folder.

    Returns:
        names and values of `ReportSettings`: data set, split, metric; empty if no file names a data set.
    """
    files = [*folder.glob("*.json"), *folder.glob("*.yaml")]
    for path in sorted(files, key=lambda p: p.stat().st_mtime, reverse=True):
        settings = _settings_in(path)
        if settings.get("test_split") and any(settings.get(name) for name in DATA):
            return {name: settings[name] for name in TAKEN if settings.get(name)} | {"split": settings["test_split"]}
    return {}


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a json file; empty if there is none, or with a warning if the file is damaged."""
    return _read(path, json.loads)


def _settings_in(path: Path) -> dict[str, Any]:
    """The settings in a json report or a YAML file."""
    if path.suffix == ".yaml":
        return _read(path, load_yaml)
    settings = read_json(path).get("settings")
    return settings if isinstance(settings, dict) else {}


def _read(path: Path, parse: Any) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = parse(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s: ignored, it cannot be read (%s)", path, one_line(error))
        return {}
    return value if isinstance(value, dict) else {}
