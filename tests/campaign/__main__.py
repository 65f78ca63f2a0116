"""Damage, kill and crowd every part of the program, and count what is not a clear answer.

    python -m tests.campaign --minutes 60

The time is divided among damaged inputs, killed trainings, and trainings on full disks, in deleted folders and beside
others; uploads to the server come on top. The exit code is 1 if there is a fault.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable

from tests.campaign import conditions, crowd, fuzz, kills
from tests.campaign.verdicts import Verdict

SHARES = {"inputs": 0.35, "kills": 0.45, "conditions": 0.2}  # of the time
MOST = 10**6


def main() -> int:
    """Run the campaign; return the exit code."""
    flags = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    flags.add_argument("--minutes", type=float, default=10.0, help="(%(default)s)")
    flags.add_argument("--inputs", type=int, help="so many damaged inputs (default: as many as the time allows)")
    flags.add_argument("--kills", type=int, default=MOST, help="so many kills (default: as many as the time allows)")
    flags.add_argument(
        "--conditions", nargs="+", choices=[*conditions.CONDITIONS], default=[], help="each of these once"
    )
    flags.add_argument("--uploads", type=int, default=3000, help="(%(default)s)")
    flags.add_argument(
        "--ends-within", type=float, default=crowd.ENDS_WITHIN, help="seconds after SIGTERM (%(default)s)"
    )
    flags.add_argument("--parts", nargs="+", choices=[*SHARES, "server"], default=[*SHARES, "server"])
    flags.add_argument("--seed", type=int, default=int(time.time()), help="(default: the clock)")
    flags.add_argument("--only", default="", help="inputs: only readers with this in their name")
    flags.add_argument("--keep", action="store_true", help="inputs: add faults to the corpus")
    options = flags.parse_args()
    print(f"seed {options.seed}", flush=True)
    whole = sum(share for part, share in SHARES.items() if part in options.parts) or 1
    seconds = {part: 60 * options.minutes * share / whole for part, share in SHARES.items()}
    faults = 0
    if "inputs" in options.parts:
        faults += _inputs(options, seconds["inputs"])
    if "kills" in options.parts:
        faults += _counted("kill", ((None, w) for w in kills.killed(options.seed, options.kills, seconds["kills"])))
    if "conditions" in options.parts:
        faults += _counted("training", conditions.tried(options.seed, seconds["conditions"], options.conditions))
    if "server" in options.parts:
        wrong = crowd.crowded(options.seed, options.uploads, options.ends_within)
        print("\n".join(wrong))
        faults += len(wrong)
    print(f"{faults} faults")
    return int(faults > 0)


def _inputs(options: argparse.Namespace, seconds: float) -> int:
    """Read the corpus and then damaged inputs; print each kind of fault once and a table; return the faults."""
    counts: dict[str, Counter[Verdict]] = defaultdict(Counter)
    told: set[str] = set()
    tries = fuzz.attempts(options.seed, options.inputs, seconds, options.only)
    for found in itertools.chain(fuzz.replayed(options.only), tries):
        counts[found.subject][found.outcome.verdict] += 1
        line = f"{found.subject}, {found.file}: {found.outcome.verdict.value}: {found.outcome.reason}"
        if found.outcome.verdict.good or line in told:
            continue
        told.add(line)
        print(line + (f" -> {fuzz.keep(found)}" if options.keep else ""), flush=True)
    print(fuzz.table(counts))
    return sum(n for c in counts.values() for verdict, n in c.items() if not verdict.good)


def _counted(what: str, tried: Iterable[tuple[str | None, str | None]]) -> int:
    """Print what went wrong and how often each condition was tried; return the faults."""
    counts, faults = Counter[str](), 0
    for condition, wrong in tried:
        counts[condition or what] += 1
        if wrong:
            faults += 1
            print(f"{condition or what}: {wrong}", flush=True)
    print(", ".join(f"{name}: {count}" for name, count in counts.items()) + f"; {faults} faults")
    return faults


if __name__ == "__main__":
    sys.exit(main())
