"""Training that is killed at random moments, given again, and compared with one that was not."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random

from data import minivoc
from detection import network
from detection.detection_table import load_npz
from detection.weights.state_dict import write_state
from sppnet.cli import main

ROOT = Path(__file__).parents[2]
COMPARED = ("proposals", "features", "mirrored-features", "head", "model", "detections", "results")
TIMED = (".json", ".lock")  # ends of names of files that state times, or are empty
SECONDS = re.compile(r'"svm_seconds": [0-9.]+,?|"digest": "[0-9a-f]+"')  # in model.json, the digest contains them
MOST_KILLS = 6  # of one training
AT_ONCE = 2  # trainings
FULL = 3  # of so many trainings, one has fine-tuning
PRELOADED = [  # what a training imports
    *(
        "sppnet.cli.execution",
        "sppnet.cli.commands.train",
        "sppnet.detector.training",
        "sppnet.report.render",
        __name__,
    ),
    *(
        "detection.detector",
        "detection.finetune",
        "detection.svm",
        "proposals.batch",
        "sklearn.svm",
        "matplotlib.pyplot",
    ),
]
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

    def words(self, run: Path) -> list[str]:
        """Command and settings."""
        return ["train", "--devkit", str(self.data), "--run", str(run), "--weights", str(self.weights), *self.settings]

    def start(self, run: Path, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
        """Begin the training in a process of its own, which calls `before` first."""
        words = [sys.executable, "-m", "sppnet", *self.words(run)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            words,
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

    A training is killed up to `MOST_KILLS` times before it may end. Only its first process is killed; the workers end
    themselves. Trainings start with their modules imported, which would take most of the time, and several run at once;
    one of `FULL` has fine-tuning.

    Args:
        seed: of the moments.
        count: number of kills.
        seconds: time after which no further training begins.
    """
    rng, until, done = Random(seed), time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory() as top, ThreadPoolExecutor(AT_ONCE) as threads:
        numbers, kinds = itertools.count(), (True, False) if count >= FULL else (True,)
        known = [_Known.of(Training(Path(top, str(quick)), quick)) for quick in kinds]

        def disturbed(kills: int, seed: int) -> tuple[int, str | None]:
            number = next(numbers)
            return known[number % FULL == FULL - 1].disturbed(Path(top) / f"run-{number}", kills, seed)

        running: set[Future[tuple[int, str | None]]] = set()
        while running or (done < count and time.monotonic() < until):
            while len(running) < AT_ONCE and done + len(running) < count and time.monotonic() < until:
                wanted = min(rng.randint(1, MOST_KILLS), count - done - len(running))
                running.add(threads.submit(disturbed, wanted, rng.getrandbits(32)))
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for kills, wrong in (future.result() for future in ended):
                done += max(kills, 1)
                yield from [None] * max(kills - 1, 0)
                yield wrong


@dataclass(frozen=True)
class _Known:
    """A training of which it is known how it ends.

    Attributes:
        training: what to train.
        expected: its files.
        seconds: what it takes with its modules imported.
    """

    training: Training
    expected: dict[str, str]
    seconds: float

    @classmethod
    def of(cls, training: Training) -> _Known:
        """Let a training end twice without disturbance.

        Raises:
            RuntimeError: it failed, or both differ.
        """
        run, found = training.top / "whole", []
        for _ in range(2):  # the first waits for the imports
            started = time.monotonic()
            _finished(training, run)
            seconds = time.monotonic() - started
            found.append(files_of(run))
            shutil.rmtree(run)
        if found[0] != found[1]:
            raise RuntimeError("two undisturbed trainings differ")
        return cls(training, found[0], seconds)

    def disturbed(self, run: Path, wanted: int, seed: int) -> tuple[int, str | None]:
        """Kill a training some times and let it end; return how many kills came before its end, and what differs."""
        rng, kills = Random(seed), 0
        for _ in range(wanted):
            process = _started(self.training, run, rng.choice((1, 2)))
            process.join(rng.uniform(0, self.seconds))
            kills += process.is_alive()
            process.kill()
            process.join()
        wrong = different(self.training, run, self.expected, lambda: _finished(self.training, run))
        shutil.rmtree(run, ignore_errors=True)
        return kills, wrong


def _started(training: Training, run: Path, workers: int) -> ForkServerProcess:
    """Start a training in a process with all modules."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    argv = [*training.words(run), "-j", str(workers)]
    process = context.Process(target=_train, args=(argv, str(training.top), f"{run}.errors"))
    process.start()
    return process


def _train(argv: list[str], folder: str, errors: str) -> None:
    """Train as a command of its own would; the exit code is that of the process."""
    os.chdir(folder)
    for stream, path in ((1, os.devnull), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(argv))


def _finished(training: Training, run: Path) -> None:
    process = _started(training, run, 1)
    process.join()
    if process.exitcode:
        raise RuntimeError(f"exit code {process.exitcode}: {Path(f'{run}.errors').read_text()[-500:]}")


def different(
    training: Training, run: Path, expected: dict[str, str], finish: Callable[[], object] | None = None
) -> str | None:
    """Let a training end; return how its files differ from those of an undisturbed one, None if they do not.

    Args:
        training: what to train.
        run: its folder.
        expected: files of an undisturbed one.
        finish: lets it end; None: as a command of its own.
    """
    try:
        (finish or (lambda: training.finish(run)))()
    except RuntimeError as error:
        return str(error)
    found = files_of(run)
    others = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if others:
        return f"{len(others)} files differ: {', '.join(others[:3])}"
    left = leftovers(run)
    return f"left over: {', '.join(left[:3])}" if left else None
