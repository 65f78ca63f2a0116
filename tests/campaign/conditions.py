"""Training on a disk that fills, in a folder that disappears, and beside another training of the same run."""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.campaign.kills import Training, different, leftovers


def tried(seed: int, seconds: float) -> Iterator[tuple[str, str | None]]:
    """Yield (condition, None or what went wrong) until the seconds are over, each condition in turn."""
    rng, until = Random(seed), time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as top:
        training = Training(Path(top))
        expected = training.finished()
        while True:
            for name, condition in CONDITIONS.items():
                if time.monotonic() > until:
                    return
                run = Path(top) / "run"
                yield name, condition(training, run, rng) or different(training, run, expected)
                shutil.rmtree(run, ignore_errors=True)


def full_disk(training: Training, run: Path, rng: Random) -> str | None:
    """No file may grow beyond a limit, as on a full disk."""
    most = int(10 ** rng.uniform(2, 6))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    process = training.start(run, before=limit)
    _, errors = process.communicate()
    if process.returncode == 0:
        return None
    left = [name for name in leftovers(run) if ".tmp" in name]
    return _refusal(process.returncode, errors) or (f"left over: {left[:3]}" if left else None)


def deleted_folder(training: Training, run: Path, rng: Random) -> str | None:
    """The run folder is deleted while the training works."""
    process = training.start(run)
    time.sleep(rng.uniform(0.2, 1) * training.seconds)
    shutil.rmtree(run, ignore_errors=True)
    _, errors = process.communicate()
    shutil.rmtree(run, ignore_errors=True)
    return None if process.returncode == 0 else _refusal(process.returncode, errors)


def company(training: Training, run: Path, rng: Random) -> str | None:
    """Two or three trainings of one run at once: one ends well, the others do too, or say that it is at work."""
    processes = [training.start(run) for _ in range(rng.choice((2, 3)))]
    ends = [(process.communicate()[1], process.returncode) for process in processes]
    faults = [_refusal(code, errors) for errors, code in ends if code]
    return next((fault for fault in faults if fault), None)


CONDITIONS: dict[str, Callable[[Training, Path, Random], str | None]] = {
    "full disk": full_disk,
    "deleted folder": deleted_folder,
    "company": company,
}


def _refusal(code: int, errors: str) -> str | None:
    """What is wrong with the end of a failed command: it should be exit code 1 and one line."""
    lines = [line for line in errors.strip().splitlines() if line.startswith("error: ")]
    right = code == 1 and len(lines) == 1 and "Traceback" not in errors
    return None if right else f"exit code {code}: {errors.strip()[-400:]}"
