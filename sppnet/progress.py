"""Log lines and progress bars of long work.

Everything is logged to the logger "sppnet". From Python nothing is shown unless the caller configures logging; the
commands send log lines and bars to stderr.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger("sppnet")
MACHINE_READABLE = "sppnet_machine_readable"  # attribute of formatters whose lines bars must not interrupt


def shows_progress() -> bool:
    """Whether to show bars: only with log lines of level info, and not between json objects."""
    handlers = logging.getLogger().handlers
    return log.isEnabledFor(logging.INFO) and not any(hasattr(h.formatter, MACHINE_READABLE) for h in handlers)


@contextmanager
def progress(total: int, done: int, unit: str, name: str) -> Iterator[tqdm]:
    """A progress bar on stderr; log lines are printed above it."""
    with (
        logging_redirect_tqdm(),
        tqdm(total=total, initial=done, unit=unit, desc=name, disable=not shows_progress()) as bar,
    ):
        yield bar


def advance(bar: tqdm, done: int) -> None:
    """Move a bar to a number of finished items."""
    bar.update(done - bar.n)


def log_left_out(bad: dict[str, str]) -> None:
    """Name the images that were left out."""
    for image_id, reason in bad.items():
        log.warning("left out %s: %s", image_id, reason)
