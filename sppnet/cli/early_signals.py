"""Signals before a command has begun, while its modules are imported."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sppnet.interrupts import handled

_ENDS = {  # signal -> what handles it usually, the word for it, the exit code
    signal.SIGTERM: (signal.SIG_DFL, "terminated", 128 + signal.SIGTERM),
    signal.SIGINT: (signal.default_int_handler, "interrupted", 130),
}


@contextmanager
def ending_at_once() -> Iterator[None]:
    """End the process on SIGTERM and Ctrl-C with one word and the exit code of a command: no work has begun.

    Signals that are ignored or handled by others stay as they are.
    """
    with handled({sign: _end for sign, (usual, *_) in _ENDS.items() if signal.getsignal(sign) is usual}):
        yield


def _end(sign: int, frame: FrameType | None) -> None:
    _, word, code = _ENDS[signal.Signals(sign)]
    os.write(2, f"{word}\n".encode())
    os._exit(code)
