"""Read one file in a process of its own, and say what became of it."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from sppnet.errors import one_line

EXPECTED = (OSError, ValueError, RuntimeError, MemoryError)  # as sppnet.cli.execution
LONGEST = 5.0  # seconds
LARGEST = 8 << 30  # bytes of address space beyond what the parent has
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "pty.spawn")


class Verdict(Enum):
    """What became of a damaged file."""

    REFUSED = "one clear line"
    READ = "read, rightly"
    WRONG = "wrongly accepted"
    UNCLEAR = "refused without saying where"
    TRACEBACK = "traceback"
    HANG = "hang"
    CRASH = "crash"
    ACTED = "program, socket or file"

    @property
    def good(self) -> bool:
        """Whether that is what is promised."""
        return self in (Verdict.REFUSED, Verdict.READ)


class Outcome(NamedTuple):
    """A verdict and its reason."""

    verdict: Verdict
    reason: str


def judged(read: Callable[[], str | None], names: Sequence[str], own: Path | None = None) -> Outcome:
    """Call `read` in a child process, which may write only into a folder, start no program and connect to nothing.

    Args:
        read: returns None, or what is wrong with what it accepted; expected errors are refusals.
        names: one of them must be in the message of a refusal.
        own: the folder; None: it may write nowhere.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, which do not matter to the child
        child = os.fork()
    if child == 0:
        os.close(receiving)
        _child(read, names, sending, own)
    os.close(sending)
    return _outcome(child, receiving)


def _outcome(child: int, receiving: int) -> Outcome:
    """Wait for the child, LONGEST seconds at most."""
    started = time.monotonic()
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() - started > LONGEST:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(receiving)
            return Outcome(Verdict.HANG, f"more than {LONGEST:g} s")
        time.sleep(0.002)
    with os.fdopen(receiving, "rb") as file:
        name, _, reason = file.read().decode("utf-8", "replace").partition("\n")
    return Outcome(Verdict[name], reason) if name else Outcome(Verdict.CRASH, "the process died")


def _child(read: Callable[[], str | None], names: Sequence[str], sending: int, own: Path | None) -> None:
    """Report the verdict of `read` and end."""
    acted: list[str] = []
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        soft = LARGEST + int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (soft, soft))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.addaudithook(_watch(acted, own))
        warnings.simplefilter("ignore")
        outcome = _call(read, names)
    except BaseException as error:  # whatever it is, the parent is told
        outcome = Outcome(Verdict.TRACEBACK, repr(error)[:300])
    if acted:
        outcome = Outcome(Verdict.ACTED, acted[0])
    os.write(sending, f"{outcome.verdict.name}\n{outcome.reason}"[:4000].encode("utf-8", "replace"))
    os._exit(0)


def _call(read: Callable[[], str | None], names: Sequence[str]) -> Outcome:
    try:
        wrong = read()
    except Exception as error:  # it decides the verdict
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = one_line(error)
        unexpected = not isinstance(error, EXPECTED) or isinstance(error, (RecursionError, NotImplementedError))
        clear = any(name in line for name in names)
        kind = Verdict.TRACEBACK if unexpected else Verdict.REFUSED if clear else Verdict.UNCLEAR
        return Outcome(kind, f"{type(error).__name__}: {line[:300]} ({where.filename}:{where.lineno})")
    return Outcome(Verdict.WRONG, wrong) if wrong else Outcome(Verdict.READ, "")


def _watch(acted: list[str], own: Path | None) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that notes started programs, connections and files opened for writing."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FORBIDDEN or (event == "socket.connect"):
            acted.append(f"{event} {arguments!r}"[:300])
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if writes and not _ours(arguments[0], own):
            acted.append(f"writes {arguments[0]!r}"[:300])

    return hook


def _ours(path: Any, own: Path | None) -> bool:
    """Whether a process may write there: its own folder, devices, and caches of compiled code."""
    name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
    if own is not None and Path(os.path.realpath(name)).is_relative_to(own):
        return True
    return not name or name.startswith("/dev/") or "__pycache__" in name or name.endswith((".nbi", ".nbc", ".pyc"))
