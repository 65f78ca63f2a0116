"""Numbers as short text for people: durations, sizes, percentages, scores."""

from __future__ import annotations

import math
from collections.abc import Mapping

from data.names import listed

UNKNOWN = "–"
NOT_AVAILABLE = "n/a"  # UNKNOWN in the tables that commands print


def clock(seconds: float) -> str:
    """Return a duration: "4.2 s", "47 s", "1 min 15 s", "2 h 5 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(n_bytes: float) -> str:
    """Return a number of bytes: "8.4 MB", "2.5 GB"."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def percent(share: float, digits: int = 1, unknown: str = UNKNOWN) -> str:
    """Return a share of 1 in percent, without the sign: 0.5 is "50.0", nan is `unknown`."""
    return unknown if math.isnan(share) else f"{100 * share:.{digits}f}"


def score(value: float, digits: int = 2) -> str:
    """Return a score with a typographic minus sign: -0.5 is "−0.50", nan is a dash."""
    return UNKNOWN if math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural with an "s" unless it is one: "1 photo", "2,500 photos"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def left_out(counts: Mapping[str, int]) -> str:
    """Return how many objects evaluation leaves out: {"tram": 2} is "left out: 2 objects of ... classes: tram (2)"."""
    which = listed([f"{name} ({count})" for name, count in counts.items()])
    return f"left out: {counted(sum(counts.values()), 'object')} of classes unknown from training: {which}"
