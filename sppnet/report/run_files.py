"""Json and YAML files that commands left in a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypedDict

from data.yaml_files import load_yaml
from detection.files import parse_json
from detection.plain_values import read
from sppnet.errors import one_line
from sppnet.progress import log

DATA = ("data", "devkit", "voc2007")  # settings that name a data set
TAKEN = (*DATA, "data_root", "images", "metric")


class Recorded(TypedDict, total=False):
    """Settings of a test that the report takes over; there may be others."""

    data: str | None
    devkit: str | None
    voc2007: bool | None
    data_root: str | None
    images: str | None
    metric: Literal["voc07", "area"] | None
    test_split: str | None


def recorded(folder: Path) -> tuple[dict[str, Any], Path | None]:
    """Return which data a run was tested on, from the newest file that says so, and this file.

    Such files are the json reports and the resolved settings (YAML) of commands that have a test split. Damaged ones
    are told and left out.

    Args:
        folder: a run folder.

    Returns:
        names and values of `ReportSettings`: data set, split, metric; empty if no file names a data set.
    """
    files = [*folder.glob("*.json"), *folder.glob("*.yaml")]
    for path in sorted(files, key=lambda p: p.stat().st_mtime, reverse=True):
        settings = _settings_in(path)
        try:
            read(Recorded, settings, "settings")
        except ValueError as error:
            log.warning("%s: ignored, damaged (%s)", path, one_line(error))
            continue
        if settings.get("test_split") and any(settings.get(name) for name in DATA):
            taken = {name: settings[name] for name in TAKEN if settings.get(name)}
            return taken | {"split": settings["test_split"]}, path
    return {}, None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a json file; empty if there is none, or with a warning if the file is damaged."""
    return _read(path, parse_json)


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
    except (OSError, ValueError) as error:
        log.warning("%s: ignored, it cannot be read (%s)", path, one_line(error))
        return {}
    return value if isinstance(value, dict) else {}
