"""Results as json files with everything needed to repeat them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from data.names import readable
from sppnet import environment
from sppnet.files import GrowingFile, write_text

ITEMS = "\0items"  # in a template: where the items of a list go


def write_report(path: Path, result: Mapping[str, Any], settings: Mapping[str, Any], seconds: float) -> None:
    """Write a result with settings, versions, hardware, time and peak memory, in one step.

    Args:
        path: the file; its folder is made if absent.
        result: plain values. File names that are not UTF-8 are written as `readable` does.
        settings: name -> value of every setting that decided the result.
        seconds: wall time.

    Raises:
        FileExistsError: there is a file that is not from sppnet.
        OSError: it cannot be written.
    """
    report = {"result": result, "settings": settings, "seconds": round(seconds, 2)}
    write_text(path, to_json(report | _circumstances(), 1) + "\n")


class CommandReport:
    """The json report of a command, with the items of its main list written as they come.

    The file is complete json after every item; until the command is done it says "unfinished": true.

    Args:
        path: the file; None: nothing is written.

    Attributes:
        path: the file.
        settings: name -> value of every setting that decides the result.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.settings: Mapping[str, Any] = {}
        self._started = time.monotonic()
        self._file = GrowingFile(path) if path else None
        self._template: Mapping[str, Any] = {"items": [ITEMS]}
        self._endings: list[str] = []  # of open items
        self._separator: str | None = None  # before the next item; None: the file is not begun

    def begin(self, template: Mapping[str, Any]) -> None:
        """Say what the result looks like.

        Args:
            template: the result, with [ITEMS] in place of the list of items. Its other values are read anew with
                every item.
        """
        self._template = template

    def add(self, item: Mapping[str, Any] | list[Any]) -> None:
        """Append an item.

        Raises:
            FileExistsError: there is a file that is not from sppnet.
            OSError: it cannot be written; the report stays as it was.
        """
        self._append(to_json(item))

    @contextmanager
    def within(self, template: Mapping[str, Any]) -> Iterator[None]:
        """Append an item with a list of its own, to which `add` appends inside the context.

        An exception may end the context: the file is complete without a further step.

        Args:
            template: the item, with [ITEMS] in place of its list.
        """
        head, ending = to_json(template).split(to_json(ITEMS))
        self._endings.append(ending)
        self._append(head)
        self._separator = ""
        yield
        self._append(self._endings.pop(), separated=False)

    def finish(self, result: Mapping[str, Any] | None) -> None:
        """Write the report of the whole result, in one step.

        Args:
            result: plain values; None: the template with the items that were added.

        Raises:
            OSError: it cannot be written.
        """
        if result is None:
            self._append("", separated=False, finished=True)
        elif self.path:
            write_report(self.path, result, self.settings, time.monotonic() - self._started)

    def _append(self, text: str, separated: bool = True, finished: bool = False) -> None:
        if self._file is None:
            return
        seconds = round(time.monotonic() - self._started, 2)
        state = _circumstances() if finished else {"unfinished": True, **self._fixed}
        report = {"result": self._template, "settings": self.settings, "seconds": seconds} | state
        head, ending = (to_json(report, 1) + "\n").split(to_json(ITEMS))
        if self._separator is None:
            text = head + text
        elif separated:
            text = self._separator + text
        self._file.append(text, "".join(reversed(self._endings)) + ending)
        self._separator = ",\n"

    @cached_property
    def _fixed(self) -> dict[str, Any]:
        return _circumstances()


def _circumstances() -> dict[str, Any]:
    """Peak memory, versions and hardware."""
    return {
        "peak_memory_bytes": environment.peak_memory(),
        "versions": environment.versions(),
        "hardware": environment.hardware(),
    }


def to_json(value: Any, indent: int | None = None) -> str:
    """Return plain values and paths as JSON, with file names that are not UTF-8 as `readable` writes them.

    Args:
        value: texts, numbers, paths, and lists and mappings of them.
        indent: spaces per level; None: all in one line.
    """
    return json.dumps(_plain(value), indent=indent, default=os.fspath)


def _plain(value: Any) -> Any:
    """The value with all texts readable, in keys too."""
    if isinstance(value, str | os.PathLike):
        return readable(os.fspath(value))
    if isinstance(value, Mapping):
        return {_plain(key): _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
