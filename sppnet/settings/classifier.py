"""Settings of the stages and commands of image classification: the only place with their defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from classification.config import Layer
from sppnet.settings.base import option
from sppnet.settings.shared import (
    DeviceSettings,
    EngineSettings,
    Metric,
    OverwriteSettings,
    Precision,
    SeedSettings,
    WeightsSettings,
)

ViewName = Literal["crop", "warp", "full", "ten"]
TestViewName = Literal["crop", "ten", "full", "maps", "maps+full"]
PyramidName = Literal["none", "21", "30", "50"]
SIZES = re.compile(r"([1-9]\d*)(?:-([1-9]\d*))?")


@dataclass(frozen=True)
class ComputeSettings(WeightsSettings, DeviceSettings):
    """How a network computes."""

    precision: Precision = option("fp32", "precision of the convolutions")


@dataclass(frozen=True)
class PhotoSettings(OverwriteSettings):
    """Which photos, and the folder that keeps the work on them."""

    data: Path | None = option(
        None,
        "a folder with one folder of photos per class; or train and test folders of such folders",
        metavar="DIR|URL",
        url="read",
    )
    run: Path | None = option(
        None,
        "folder of this run's files (default: runs/NAME-classification)",
        metavar="DIR|URL",
        writes="folder",
        url="write",
    )
    limit: int | None = option(None, "use only the first N photos per class", metavar="N", minimum=1)


@dataclass(frozen=True)
class BenchmarkSettings(PhotoSettings):
    """Which labelled photos, or which of the data sets that the paper uses."""

    limit: int | None = option(
        None, "use only the first N photos per class; with --voc2007, per split", metavar="N", minimum=1
    )
    voc2007: bool = option(False, "use Pascal VOC 2007, where a photo may show several classes")
    caltech101: bool = option(False, "use Caltech-101, with 30 training photos per class")
    devkit: Path | None = option(None, "VOCdevkit of --voc2007 (default: that of the data root)", metavar="DIR")
    data_root: Path = option(Path("datasets"), "folder that holds downloaded data sets", metavar="DIR")
    download: bool = option(False, "download the data set into the data root if it is missing")
    train_split: str | None = option(None, "split of VOC 2007 to train on (default: trainval)", metavar="NAME")
    test_split: str | None = option(None, "split of VOC 2007 to test on (default: test)", metavar="NAME")


@dataclass(frozen=True)
class VectorSettings(BenchmarkSettings, ComputeSettings, EngineSettings):
    """Which photos become vectors, by which network, and how it sees them."""

    backbone: str = option(
        "lite0",
        "alexnet, vgg16, lite0, lite1, lite2, torchvision:NAME, timm:NAME, or the folder of a trained classifier",
        metavar="NAME|DIR",
    )
    view: ViewName = option(
        "full",
        "what the network sees of a photo: its centre crop; all of it made square; all of it; or ten crops, averaged",
    )
    short_side: int = option(224, "short side that photos are resized to, pixels", metavar="N", minimum=1)


@dataclass(frozen=True)
class ClassifierSettings(VectorSettings, SeedSettings):
    """Settings of `sppnet classifier train` and `sppnet.train_classifier`: linear SVMs on a pretrained network."""

    MAIN: ClassVar = ("data", "run", "backbone", "short_side", "layer")

    layer: Layer = option("spp", "layer that the SVMs learn from")
    cost: float = option(3.0, "cost of a violated margin, C of the SVMs", metavar="C", above=0)
    divisions: int | None = option(
        None, "random divisions of photos without train and test folders (default: 10)", metavar="N", minimum=1
    )
    train: int | None = option(
        None, "training photos per class (default: half of them; Caltech-101: 30)", metavar="N", minimum=1
    )
    test: int | None = option(
        None, "at most N test photos per class (default: all others; Caltech-101: 50)", metavar="N", minimum=1
    )
    metric: Metric | None = option(None, "11-point (voc07) or area average precision, with --voc2007 (default: voc07)")


@dataclass(frozen=True)
class NetworkTrainingSettings(PhotoSettings, SeedSettings, WeightsSettings, DeviceSettings):
    """Settings of `sppnet classifier train-network`: training by gradient descent."""

    MAIN: ClassVar = ("data", "run", "backbone", "pyramid", "epochs")

    precision: Precision | None = option(
        None, "precision of the matrix products (default: bf16 where the device has it, else fp32)"
    )
    backbone: str = option("zf5-small", "convolutions", metavar="NAME")
    start: Literal["random", "frozen", "tuned"] | None = option(
        None,
        "convolutions: random; pretrained and kept; pretrained and trained further (default: random for zf5 and "
        "zf5-small without --weights, else frozen)",
    )
    pyramid: PyramidName = option("50", "number of bins of the pyramid; none: no spatial pyramid pooling")
    sizes: tuple[str, ...] = option(
        ("224",),
        "side of training images in pixels: several are used in turn, one per epoch, the first in the last epoch; "
        "from a range as 180-224 each epoch draws one",
        metavar="N|N-N",
    )
    width: int = option(512, "outputs of fc6 and fc7", metavar="N", minimum=1)
    norm: bool = option(True, "batch-normalise fc6 and fc7 during training")
    dropout: float = option(0.5, "dropout of fc6 and fc7", metavar="P", minimum=0, below=1)
    epochs: int = option(70, "passes over the photos", metavar="N", minimum=1)
    batch: int = option(32, "photos per batch, over all processes", metavar="N", minimum=1)
    rate: float = option(0.01, "learning rate", metavar="RATE", above=0)
    patience: int | None = option(
        None,
        "divide the rate by 10 after N epochs without a lower loss, twice, then stop (default: after 60 and 85 % of "
        "the epochs)",
        metavar="N",
        minimum=1,
    )
    colour: float = option(0.1, "strength of random colour shifts, 0 for none", metavar="S", minimum=0)
    mirror: bool = option(True, "mirror half of the views")
    train_share: float = option(
        0.9, "share of each class to train on, if there is no test folder", metavar="SHARE", above=0, below=1
    )
    workers: int = option(0, "processes that read photos", metavar="N", minimum=0, flags=("-j",))

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", _texts(self.sizes))
        super().__post_init__()
        for text in self.sizes:
            match = SIZES.fullmatch(text)
            if match is None or (match[2] and int(match[1]) > int(match[2])):
                raise ValueError(f"sizes: expected a number as 224, or a range as 180-224, got {text!r}")

    @property
    def size_ranges(self) -> tuple[tuple[int, ...], ...]:
        """`sizes` as numbers, pixels: (N,) for a size, (first, last) for a range."""
        return tuple(tuple(map(int, text.split("-"))) for text in self.sizes)


def _texts(values: object) -> object:
    """YAML and Python callers may give sizes as numbers."""
    if isinstance(values, int):
        return (str(values),)
    return tuple(str(v) if isinstance(v, int) else v for v in values) if isinstance(values, list | tuple) else values


@dataclass(frozen=True)
class ClassifierTestSettings(ComputeSettings):
    """Settings of `sppnet classifier test`."""

    MAIN: ClassVar = ("run", "data", "views", "short_side")

    run: Path = option(None, "run folder of a trained classifier", metavar="DIR", required=True, writes="folder")
    data: Path | None = option(
        None,
        "a folder with one folder of photos per class, or with a test folder of such folders (default: the photos "
        "held out in training)",
        metavar="DIR",
    )
    limit: int | None = option(None, "use only the first N photos per class", metavar="N", minimum=1)
    views: tuple[TestViewName, ...] = option(
        ("crop", "full"),
        "what the network sees of a photo: its centre crop; ten crops; all of it; 96 windows of its feature maps; or "
        "these and all of it",
    )
    short_side: int = option(256, "short side of photos for crop, ten and full, pixels", metavar="N", minimum=1)


@dataclass(frozen=True)
class RepresentationSettings(VectorSettings):
    """Settings of `sppnet classifier represent`."""

    MAIN: ClassVar = ("data", "run", "backbone", "layers", "short_side")

    layers: tuple[Layer, ...] = option(("spp",), "layers of the network")


@dataclass(frozen=True)
class ClassifySettings(ComputeSettings):
    """Settings of `sppnet classify`."""

    MAIN: ClassVar = ("model", "top", "csv")

    sources: tuple[str, ...] = option(
        None, "photos, folders or patterns", metavar="PHOTO|FOLDER|PATTERN", positional=True, required=True
    )
    model: Path = option(None, "folder of a trained classifier", metavar="DIR", required=True)
    top: int = option(3, "classes to show per photo, best first", metavar="N", minimum=1)
    csv: Path | None = option(None, "write one row per photo and class", metavar="FILE", writes="file")
