"""Training on a disk that fills, in a folder that disappears, and beside another training of the same run."""

from __future__ import annotations

import itertools
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from tests.campaign.kills import Training, different, leftovers
from tests.filesystems import mount, unmount


def tried(seed: int, seconds: float, names: Sequence[str] = ()) -> Iterator[tuple[str, str | None]]:
    """Yield (condition, None or what went wrong) until the seconds are over, each condition in turn.

    Args:
        seed: of sizes and moments.
        seconds: after which no further condition begins.
        names: of `CONDITIONS`, each tried once with a quick training, whatever the time; empty: all, again and again.
    """
    rng, until = Random(seed), time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as top:
        training = Training(Path(top), quick=bool(names))
        expected = training.finished(times=1 if names else 2)
        for name in names or itertools.cycle(CONDITIONS):
            if not names and time.monotonic() > until:
                return
            run = Path(top) / "run"
            yield name, CONDITIONS[name](training, run, rng) or different(training, run, expected)
            shutil.rmtree(run, ignore_errors=True)


def full_file_system(training: Training, run: Path, rng: Random) -> str | None:
    """The run folder is a file system that has room for a part of the files, where one can be mounted."""
    run.mkdir()
    if mount(run, int(training.bytes * rng.uniform(0.05, 0.95))):
        return None
    try:
        process = training.start(run)
        _, errors = process.communicate()
        left = [name for name in leftovers(run) if ".tmp" in name]
        kept = Path(shutil.copytree(run, run.with_name("kept")))
    finally:
        unmount(run)
    run.rmdir()
    kept.rename(run)  # there is room again
    wrong = None if process.returncode == 0 else _refusal(process.returncode, errors)
    return wrong or (f"left over: {left[:3]}" if left else None)


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
    "full file system": full_file_system,
    "deleted folder": deleted_folder,
    "company": company,
}


def _refusal(code: int, errors: str) -> str | None:
    """What is wrong with the end of a failed command: it should be exit code 1 and one line."""
    lines = [line for line in errors.strip().splitlines() if line.startswith("error: ")]
    right = code == 1 and len(lines) == 1 and "Traceback" not in errors
    return None if right else f"exit code {code}: {errors.strip()[-400:]}"
