"""Results of an engine in the order of their items, so that what is made of them does not depend on the workers."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TypeVar

R = TypeVar("R")

MEMORY = 1 << 28  # bytes of results that wait for their turn; further ones wait in files


def in_order(results: Iterable[tuple[int, R]], folder: Path, memory: int = MEMORY) -> Generator[R, None, None]:
    """Yield results by number: 0, 1, 2, ...

    Args:
        results: numbers and results in any order, each number once, none left out.
        folder: of temporary files, which end with this process; it is created if absent.
        memory: bytes of results that wait in memory, besides the one that is yielded.

    Raises:
        OSError: a file cannot be written.
    """
    turn, used, early = 0, 0, dict[int, bytes | IO[bytes]]()
    with ExitStack() as files:
        for number, result in results:
            if number != turn:
                data = pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
                fits = used + len(data) <= memory
                used += len(data) * fits
                early[number] = data if fits else files.enter_context(_file_with(data, folder))
                continue
            yield result
            turn += 1
            while turn in early:
                kept = early.pop(turn)
                used -= len(kept) if isinstance(kept, bytes) else 0
                yield pickle.loads(kept if isinstance(kept, bytes) else _taken_from(kept))
                turn += 1


def _file_with(data: bytes, folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    file = tempfile.TemporaryFile(prefix="early-", dir=folder)  # noqa: SIM115 (the caller closes it)
    file.write(data)
    file.seek(0)
    return file


def _taken_from(file: IO[bytes]) -> bytes:
    with file:
        return file.read()
