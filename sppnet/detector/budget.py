"""Settings of a training that takes no longer than its budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sppnet.detector.choices import Choice, Choices
from sppnet.detector.time_estimate import Machine, Work
from sppnet.progress import log
from sppnet.text import clock

FASTER: Sequence[tuple[str, Any]] = (("features", "pool5"), ("scales", (864,)), ("scales", (688,)))
"""Settings that save time, those that cost least accuracy first; each is taken together with those before it."""


def within_budget(made: Choices, machine: Machine, test_photos: int) -> Choices:
    """Replace what was chosen freely until the training fits its budget, and say how long it takes, and its test.

    Settings that were given, or that an earlier training of the run decided, stay.

    Args:
        made: settings without open ones.
        machine: what photos cost.
        test_photos: number of photos of the test, whose time is not part of the budget.
    """
    budget, others = made.settings.budget_seconds, dict[str, Choice]()
    best, total = made, _total(made, machine)
    for name, value in FASTER:
        if total <= budget:
            break
        if name in made.free and _differs(name, getattr(best.settings, name), value):
            choice = Choice(name, value, f"about {clock(total)} otherwise, and --budget {made.settings.budget}")
            faster = made.instead(others | {name: choice})
            if (seconds := _total(faster, machine)) < total:
                best, total, others = faster, seconds, others | {name: choice}
    test = clock(_total(best, machine, test_photos) - total)
    if total > budget:
        allowed = made.settings.budget
        log.warning("about %s, more than --budget %s; nothing faster is left; test %s", clock(total), allowed, test)
    else:
        log.info("about %s on this machine; test %s", clock(total), test)
    return best


def _differs(name: str, now: Any, value: Any) -> bool:
    """Whether a value of a setting is another one than the present, for scales a smaller one."""
    return bool(max(now) > max(value)) if name == "scales" else now not in (None, value)


def _total(made: Choices, machine: Machine, test_photos: int = 0) -> float:
    """Seconds of a training and of its test on so many photos."""
    labels = np.concatenate([record.labels for record in made.train])
    work = Work(len(made.train), test_photos, len(labels), len(np.unique(labels)))
    return sum(machine.estimate(made.settings, work).values())
