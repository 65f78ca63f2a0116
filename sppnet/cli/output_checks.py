"""The files that a command will write, checked before its work begins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from sppnet.output_files import check_file, check_folder, identities
from sppnet.settings.base import Settings


def check_outputs(settings: Settings, json: Path | None, config: Path | None) -> None:
    """Check that everything a command is asked to write can be written, and replaces nothing of other origin.

    Args:
        settings: all of the command; their options say which of them name outputs.
        json: the json report.
        config: the file that settings come from.

    Raises:
        ValueError: two outputs are the same file.
        FileExistsError: an output exists, and is an input or not from sppnet.
        OSError: an output cannot be written.
    """
    files = dict(_named(settings, "file")) | ({"json": json} if json else {})
    flags: dict[str, str] = {}
    for name, path in files.items():
        other = flags.setdefault(os.path.realpath(path), name)
        if other != name:
            raise ValueError(f"{path}: both --{other} and --{name}; give each a file of its own")
    inputs = identities([*_inputs(settings), *([config] if config else [])])
    for path in files.values():
        check_file(path, inputs)
    for _, path in _named(settings, "folder"):
        check_folder(path)


def written_files(settings: Settings, json: Path | None, since: float) -> list[Path]:
    """The named output files that have been written since a time, seconds since 1970."""
    files = [*dict(_named(settings, "file")).values(), *([json] if json else [])]
    return [path for path in files if path.is_file() and path.stat().st_mtime >= since]


def _named(settings: Settings, kind: Literal["file", "folder"]) -> Iterator[tuple[str, Path]]:
    for name, (_, option) in settings.kinds().items():
        value = getattr(settings, name)
        if option.writes == kind and value is not None:
            yield name, value


def _inputs(settings: Settings) -> Iterator[str | os.PathLike[str]]:
    """Every text or path among the settings that is not an output."""
    for name, (_, option) in settings.kinds().items():
        value: Any = getattr(settings, name)
        for item in value if isinstance(value, tuple) else (value,):
            if option.writes is None and isinstance(item, str | os.PathLike):
                yield item
