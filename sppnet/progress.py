"""What a tool says while it works: log lines and progress bars, on stderr."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

LEVELS = ("debug", "info", "warning", "error")
log = logging.getLogger("sppnet")


def flags(p: argparse.ArgumentParser) -> None:
    """How much, and in which form."""
    p.add_argument("--log-level", choices=LEVELS, default="info", help="least level of log lines (%(default)s)")
    p.add_argument("--quiet", action="store_true", help="no bars, and only warnings and errors")
    p.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="json: an object a line, for machines"
    )


class JsonLines(logging.Formatter):
    """An object a line: time (UTC), level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        entry = {"time": time, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class ToolHandler(logging.StreamHandler):
    """The handler of a tool, which the next tool in the same process replaces."""


def start(options: argparse.Namespace) -> None:
    """Send log lines to stderr as the flags ask; those of other libraries from warnings on."""
    handler = ToolHandler(sys.stderr)
    handler.setFormatter(JsonLines() if options.log_format == "json" else logging.Formatter("%(message)s"))
    root = logging.getLogger()
    root.handlers = [handler, *(h for h in root.handlers if not isinstance(h, ToolHandler))]
    level = logging.WARNING if options.quiet else getattr(logging, options.log_level.upper())
    for name in ("sppnet", "classification", "data", "detection", "proposals"):
        logging.getLogger(name).setLevel(level)


def shows_progress() -> bool:
    """Whether bars are wanted: not where lines of progress are not, nor between objects for machines."""
    machines = any(isinstance(h.formatter, JsonLines) for h in logging.getLogger().handlers)
    return not machines and log.isEnabledFor(logging.INFO)


@contextmanager
def progress(total: int, done: int, unit: str, name: str) -> Iterator[tqdm]:
    """A progress bar on stderr that log lines do not tear apart."""
    hidden = not shows_progress()
    with logging_redirect_tqdm(), tqdm(total=total, initial=done, unit=unit, desc=name, disable=hidden) as bar:
        yield bar
