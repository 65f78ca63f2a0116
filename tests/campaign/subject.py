"""What is damaged: sound files, the call that reads them, and what it may accept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Subject:
    """One kind of file.

    Attributes:
        make: writes sound files into an empty folder and returns those that are to be damaged, one at a time.
        read: reads the folder as users do; returns None, or what is wrong with what it accepted.
        writes: reading may write within the folder, of which it gets a copy.
    """

    make: Callable[[Path], list[Path]]
    read: Callable[[Path], str | None]
    writes: bool = False
