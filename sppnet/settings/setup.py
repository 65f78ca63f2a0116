"""Settings of the commands that set things up: a generated data set, pretrained weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sppnet.settings.base import Settings, option
from sppnet.settings.shared import SeedSettings


@dataclass(frozen=True)
class MiniVOCSettings(SeedSettings):
    """Settings of `sppnet minivoc`."""

    MAIN: ClassVar = ("train", "test", "seed")

    folder: Path = option(Path("datasets/minivoc"), "folder to write", metavar="DIR", positional=True, writes="folder")
    train: int = option(120, "training images", metavar="N")
    test: int = option(60, "test images", metavar="N")


@dataclass(frozen=True)
class WeightsCommandSettings(Settings):
    """Settings of `sppnet weights`."""

    MAIN: ClassVar = ("archive",)

    names: tuple[str, ...] | None = option(
        None, "networks (default: all, or all in --archive)", metavar="NAME", positional=True
    )
    archive: Path | None = option(None, "a distribution file downloaded by other means", metavar="FILE")
