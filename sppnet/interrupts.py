"""Who handles Ctrl-C and SIGTERM for a while; both held back while something must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handled(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Let functions handle signals within the block. Only the main thread can; in another, nothing changes."""
    main = threading.current_thread() is threading.main_thread()
    before = {sign: signal.signal(sign, handler) for sign, handler in handlers.items() if main}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


@contextmanager
def held() -> Iterator[None]:
    """Hold the signals back until the end of the block, where what they raise is raised. Only the main thread can."""
    came: list[int] = []
    try:
        with handled(dict.fromkeys(SIGNALS, lambda sign, frame: came.append(sign))):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])
