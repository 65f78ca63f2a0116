"""Training that is killed at random moments, given again, and compared with one that was not."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

from data import minivoc
from detection import network
from detection.detection_table import load_npz
from detection.weights.state_dict import write_state

ROOT = Path(__file__).parents[2]
COMPARED = ("proposals", "features", "mirrored-features", "head", "model", "detections", "results")
TIMED = (".json", ".lock")  # ends of names of files that state times, or are empty
SECONDS = re.compile(r'"svm_seconds": [0-9.]+,?|"digest": "[0-9a-f]+"')  # in model.json, the digest contains them
LEFTOVERS = ("*.tmp", "*.parts", "*.old", "*.new", "checkpoint*", "*.partial")
SETTINGS = (
    *(
        "--backbone",
        "alexnet",
        "--scales",
        "160",
        "--precision",
        "fp32",
        "--features",
        "pool5+fc7",
        "--proposals",
        "ss",
    ),
    *(
        "--schedule",
        "30:1e-2,10:1e-3",
        "--width",
        "32",
        "--validate-every",
        "10",
        "--cost",
        "0.01",
        "--quiet",
        "-j",
        "2",
    ),
)
QUICK = (
    *("--backbone", "alexnet", "--scales", "160", "--precision", "fp32", "--features", "pool5", "--proposals", "ss"),
    *("--cost", "0.01", "--quiet", "-j", "1"),
)


class Training:
    """One `sppnet train` of a generated data set, whose run folder is under the folder given.

    Args:
        top: folder of everything.
        quick: fewer photos, and no fine-tuning: 6 s of one core instead of 19.

    Attributes:
        seconds: what the last undisturbed training took.
        bytes: of the files that it left.
    """

    def __init__(self, top: Path, quick: bool = False) -> None:
        self.top, self.seconds, self.bytes = top, 0.0, 0
        self.settings = QUICK if quick else SETTINGS
        self.data = minivoc.generate(top / "data", train=4 if quick else 6, test=2 if quick else 3, seed=0)
        self.weights = top / "alexnet.safetensors"
        write_state(self.weights, network.build("alexnet", weights=None).state_dict())

    def start(self, run: Path, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
        """Begin the training in a process of its own, which calls `before` first."""
        words = [sys.executable, "-m", "sppnet", "train", "--devkit", str(self.data), "--run", str(run)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [*words, "--weights", str(self.weights), *self.settings],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=self.top, env=environment,
            preexec_fn=before,
        )  # fmt: skip

    def finish(self, run: Path) -> float:
        """Run it to its end; return its seconds.

        Raises:
            RuntimeError: it failed.
        """
        started, process = time.monotonic(), self.start(run)
        _, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode}: {errors[-500:]}")
        return time.monotonic() - started

    def finished(self, times: int = 2) -> dict[str, str]:
        """Let the training end so often without disturbance; return its files, see `files_of`.

        Raises:
            RuntimeError: it failed, or the files differ.
        """
        run, found = self.top / "whole", []
        for _ in range(times):  # the first compiles kernels
            self.seconds = self.finish(run)
            found.append(files_of(run))
            self.bytes = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
            shutil.rmtree(run)
        if found[0] != found[-1]:
            raise RuntimeError("two undisturbed trainings differ")
        return found[0]


def files_of(run: Path) -> dict[str, str]:
    """Relative path -> digest of what a file holds, without the seconds that some state."""
    found: dict[str, str] = {}
    for path in sorted(path for name in COMPARED for path in (run / name).rglob("*") if path.is_file()):
        name = str(path.relative_to(run))
        if name.startswith("detections/") and path.suffix == ".npz":
            table, meta = load_npz(path)
            text = repr(
                [
                    table.ids,
                    table.image.tolist(),
                    *(a.tolist() for a in vars(table.rows).values() if hasattr(a, "tolist")),
                ]
            )
            found[name] = sha256((text + json.dumps(meta["images"])).encode()).hexdigest()
        elif name == "model/model.json":
            found[name] = SECONDS.sub("", path.read_text())
        elif not name.endswith(TIMED):
            found[name] = sha256(path.read_bytes()).hexdigest()
    return found


def leftovers(run: Path) -> list[str]:
    """Files of unfinished work."""
    return sorted(str(path.relative_to(run)) for pattern in LEFTOVERS for path in run.rglob(pattern))


def killed(seed: int, count: int, seconds: float) -> Iterator[str | None]:
    """Kill trainings `count` times; yield per kill None, or what differs after the training was given again.

    A training is killed up to three times before it may end. Only its first process is killed; the workers end
    themselves.

    Args:
        seed: of the moments.
        count: number of kills.
        seconds: time after which no further training begins.
    """
    rng, until, done = Random(seed), time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory() as top:
        training = Training(Path(top))
        expected = training.finished()
        while done < count and time.monotonic() < until:
            run = Path(top) / f"run-{done}"
            wanted = min(rng.choice((1, 1, 2, 3)), count - done)
            kills = sum(_kill(training, run, rng.uniform(0, training.seconds)) for _ in range(wanted))
            wrong = different(training, run, expected)
            done += max(kills, 1)
            yield from [None] * max(kills - 1, 0)
            yield wrong
            shutil.rmtree(run, ignore_errors=True)


def _kill(training: Training, run: Path, after: float) -> bool:
    """Start a training and kill it; return whether it still ran."""
    process = training.start(run)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    still = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return still


def different(training: Training, run: Path, expected: dict[str, str]) -> str | None:
    """Let a training end; return how its files differ from those of an undisturbed one, None if they do not."""
    try:
        training.finish(run)
    except RuntimeError as error:
        return str(error)
    found = files_of(run)
    others = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if others:
        return f"{len(others)} files differ: {', '.join(others[:3])}"
    left = leftovers(run)
    return f"left over: {', '.join(left[:3])}" if left else None
