"""Where log lines of a command go: stderr, as text or json."""

from __future__ import annotations

import io
import json
import logging
import sys
from datetime import datetime, timezone

from sppnet.progress import MACHINE_READABLE

PACKAGES = ("sppnet", "classification", "data", "detection", "proposals")


class JsonLines(logging.Formatter):
    """One object per line: time (UTC), level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as json."""
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        entry = {"time": time, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


setattr(JsonLines, MACHINE_READABLE, True)


class ConsoleHandler(logging.StreamHandler):
    """The handler of a command, which the next command in the same process replaces."""


class SayOnce(logging.Filter):
    """Drops what a reader of data sets has said already: every stage reads the data set again."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show a log line."""
        if not record.name.startswith("data."):
            return True
        message = record.getMessage()
        new = message not in self._said
        self._said.add(message)
        return new


def start_logging(level: str = "info", quiet: bool = False, form: str = "text") -> None:
    """Send this program's log lines to stderr from `level` on, and those of other libraries from warnings on."""
    handler = ConsoleHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter("%(message)s"))
    handler.addFilter(SayOnce())
    root = logging.getLogger()
    root.handlers = [handler, *(h for h in root.handlers if not isinstance(h, ConsoleHandler))]
    for name in PACKAGES:
        logging.getLogger(name).setLevel(logging.WARNING if quiet else getattr(logging, level.upper()))


def print_any_text() -> None:
    """Let stdout take every text: what its encoding lacks, and bytes of file names that are no text, is escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
