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


class Training:
    """One `sppnet train` of a generated data set, whose run folder is under the folder given.

    Args:
        top: folder of everything.

    Attributes:
        seconds: what the last undisturbed training took.
    """

    def __init__(self, top: Path) -> None:
        self.top, self.seconds = top, 0.0
        self.data = minivoc.generate(top / "data", train=6, test=3, seed=0)
        self.weights = top / "alexnet.safetensors"
        write_state(self.weights, network.build("alexnet", weights=None).state_dict())

    def words(self, run: Path) -> list[str]:
        """Command and settings."""
        return ["train", "--devkit", str(self.data), "--run", str(run), "--weights", str(self.weights), *SETTINGS]

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

    def finished(self) -> dict[str, str]:
        """Let the training end twice without disturbance; return its files, see `files_of`.

        Raises:
            RuntimeError: it failed, or both differ.
        """
        run, found = self.top / "whole", []
        for _ in range(2):  # the first compiles kernels
            self.seconds = self.finish(run)
            found.append(files_of(run))
            shutil.rmtree(run)
        if found[0] != found[1]:
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
    themselves. Trainings start with their modules imported, which would take most of the time, and several run at once.

    Args:
        seed: of the moments.
        count: number of kills.
        seconds: time after which no further training begins.
    """
    rng, until, done = Random(seed), time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory() as top, ThreadPoolExecutor(AT_ONCE) as threads:
        training = Training(Path(top))
        expected, numbers = training.finished(), itertools.count()
        whole = _seconds_of(training, Path(top) / "timed")

        def disturbed(kills: int, seed: int) -> tuple[int, str | None]:
            return _disturbed(training, Path(top) / f"run-{next(numbers)}", expected, (kills, seed, whole))

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


def _disturbed(
    training: Training, run: Path, expected: dict[str, str], plan: tuple[int, int, float]
) -> tuple[int, str | None]:
    """Kill a training some times and let it end; return the number of kills that came before its end, and what differs.

    Args:
        training: what to train.
        run: its folder, which is deleted.
        expected: files of an undisturbed one.
        plan: kills, seed of their moments, and seconds of an undisturbed one.
    """
    wanted, seed, whole = plan
    rng, kills = Random(seed), 0
    for _ in range(wanted):
        process = _started(training, run, rng.choice((1, 2)))
        process.join(rng.uniform(0, whole))
        kills += process.is_alive()
        process.kill()
        process.join()
    wrong = different(training, run, expected, lambda: _finished(training, run))
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


def _seconds_of(training: Training, run: Path) -> float:
    """What an undisturbed training takes with its modules imported; the first one waits for the imports."""
    for _ in range(2):
        started = time.monotonic()
        _finished(training, run)
        shutil.rmtree(run)
    return time.monotonic() - started


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
