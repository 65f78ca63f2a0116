"""Settings of `sppnet visualize`: one class per picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from sppnet.settings.base import Settings, option
from sppnet.settings.commands import BUNDLED, Order
from sppnet.settings.shared import DeviceSettings, SeedSettings, WeightsSettings

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PictureSettings(Settings):
    """The photo, and the picture to write."""

    image: Path = option(None, "a photo", metavar="PHOTO", positional=True, required=True)
    output: Path | None = option(
        None,
        "picture to write, .png, .jpg or .webp (default: ./PHOTO-VIEW.png)",
        metavar="FILE",
        flags=("-o",),
        writes="file",
    )


@dataclass(frozen=True)
class NetworkViewSettings(PictureSettings, WeightsSettings, DeviceSettings):
    """The detector whose network is shown."""

    model: str = option(BUNDLED, "a bundled detector or a model folder", metavar="NAME|DIR")


@dataclass(frozen=True)
class ProposalViewSettings(PictureSettings):
    """Settings of `sppnet visualize proposals`."""

    MAIN: ClassVar = ("output", "annotation", "proposals", "max_boxes", "top")

    annotation: Path | None = option(None, "the photo's objects in VOC's XML format", metavar="FILE")
    devkit: Path | None = option(None, "a VOCdevkit that has an annotation of the photo's name", metavar="DIR")
    voc2007: bool = option(False, "use VOC2007 of a devkit of several years")
    data_root: Path = option(Path("datasets"), "folder that holds downloaded data sets", metavar="DIR")
    proposals: str = option(
        "ss",
        "ss, ss-single, ss-quality, edgeboxes or ss+edgeboxes; or a .npz, .mat or .json file with boxes under the "
        "photo's name",
        metavar="SOURCE|FILE",
    )
    max_boxes: int | None = option(None, "use only the N best-ranked boxes (default: all)", metavar="N", minimum=1)
    order: Order = option("yxyx", "column order of .mat files")
    top: int = option(20, "number of boxes to draw, without an annotation", metavar="N", minimum=1)


@dataclass(frozen=True)
class LevelViewSettings(PictureSettings, SeedSettings):
    """Settings of `sppnet visualize levels`."""

    MAIN: ClassVar = ("output", "regions", "space", "fill", "columns")

    regions: tuple[int, ...] = option((200, 50, 15, 5), "numbers of regions to show", metavar="N", minimum=1)
    space: Literal["hsv", "lab", "rgi", "h", "i"] = option("hsv", "colour space of the search")
    fill: Literal["mean", "random"] = option("mean", "colours of the regions")
    columns: int = option(3, "pictures per row", metavar="N", minimum=1)


@dataclass(frozen=True)
class ChannelViewSettings(NetworkViewSettings):
    """Settings of `sppnet visualize channels`."""

    MAIN: ClassVar = ("output", "model", "channels", "count", "columns")

    channels: tuple[int, ...] | None = option(None, "channels to show (default: those that respond most)", metavar="C")
    count: int = option(11, "number of channels, if none are named", metavar="N", minimum=1)
    columns: int = option(4, "pictures per row", metavar="N", minimum=1)


@dataclass(frozen=True)
class BinViewSettings(NetworkViewSettings):
    """Settings of `sppnet visualize bins`."""

    MAIN: ClassVar = ("output", "model", "box", "rank")

    box: Box | None = option(None, "a window x0 y0 x1 y1 in image pixels", metavar="X0 Y0 X1 Y1")
    rank: int = option(1, "without --box: rank of the proposal to show", metavar="N", minimum=1)


@dataclass(frozen=True)
class EvidenceViewSettings(NetworkViewSettings):
    """Settings of `sppnet visualize evidence`."""

    MAIN: ClassVar = ("output", "model", "box", "class_name", "strongest")

    box: Box | None = option(
        None, "a window x0 y0 x1 y1 in image pixels (default: the best detection)", metavar="X0 Y0 X1 Y1"
    )
    class_name: str | None = option(
        None, "class whose score is shown (default: the best detection's)", metavar="NAME", flags=("--class",)
    )
    strongest: int = option(3, "number of strongest pairs of bin and channel to show", metavar="N", minimum=1)
