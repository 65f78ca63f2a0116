"""Groups of settings that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from detection.storage.urls import url_of
from sppnet.settings.base import Settings, option

Precision = Literal["fp32", "bf16"]
Inference = Literal["paper", "fast", "best"]
Metric = Literal["voc07", "area"]
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class SeedSettings(Settings):
    """The random seed."""

    seed: int = option(0, "random seed", minimum=0, maximum=LARGEST_SEED)


@dataclass(frozen=True)
class OverwriteSettings(Settings):
    """Whether finished work is repeated."""

    overwrite: bool = option(False, "repeat work that is finished already")


@dataclass(frozen=True)
class DeviceSettings(Settings):
    """Where networks run."""

    device: str = option("auto", "auto, cpu, cuda or cuda:N", metavar="DEVICE")


@dataclass(frozen=True)
class EngineSettings(Settings):
    """Where the work on many photos runs."""

    engine: Literal["local", "processes", "ray"] | None = option(
        None,
        "where the work on many photos runs: local (in this process), processes (on this machine) or ray (a Ray "
        "cluster; see the documentation, Many machines); the results are the same (default: processes to search for "
        "windows, else local)",
    )
    workers: int | None = option(
        None, "processes or Ray workers (default: one per core)", metavar="N", minimum=1, flags=("-j",)
    )
    ray_address: str | None = option(
        None,
        "running Ray cluster to use: auto, HOST:PORT or ray://HOST:PORT (default: one on this machine, started for "
        "the command)",
        metavar="ADDRESS",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ray_address is not None and self.engine != "ray":
            raise ValueError("ray_address: goes with engine ray")


@dataclass(frozen=True)
class WeightsSettings(Settings):
    """The convolutions' weights."""

    weights: Path | None = option(
        None, "file with weights of the convolutions, instead of the pretrained ones", metavar="FILE"
    )


@dataclass(frozen=True)
class MetricSettings(Settings):
    """How average precision is computed."""

    metric: Metric = option("voc07", "11-point (voc07) or area average precision")


@dataclass(frozen=True)
class DatasetSettings(Settings):
    """Which labelled photos."""

    data: Path | None = option(
        None,
        "labelled photos: a folder or file in the format of VOC, COCO, YOLO, CSV or a labelling tool",
        metavar="PATH|URL",
        url="read",
    )
    images: Path | None = option(
        None, "folder of the photos, if they are not in the data set", metavar="DIR", url="read"
    )
    voc2007: bool = option(False, "use Pascal VOC 2007; the run folder is then runs/voc2007")
    devkit: Path | None = option(
        None, "a VOCdevkit, or a folder with Annotations, ImageSets and JPEGImages", metavar="DIR", url="read"
    )
    data_root: Path = option(Path("datasets"), "folder that holds downloaded data sets", metavar="DIR", url="read")
    download: bool = option(False, "download VOC 2007 into the data root if it is missing")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.download and url_of(self.data_root):
            raise ValueError("download: goes into a data_root of this machine; copy the data set to the URL afterwards")


@dataclass(frozen=True)
class PathSettings(DatasetSettings):
    """Labelled photos that are named without a flag."""

    path: Path | None = option(None, "labelled photos, as for --data", metavar="DATA", positional=True, url="read")


@dataclass(frozen=True)
class RunSettings(DatasetSettings):
    """Which labelled photos, and the folder that keeps the work on them."""

    run: Path | None = option(
        None,
        "folder of this run's files, or its URL, for example s3://BUCKET/RUN (default: runs/NAME of the data set)",
        metavar="DIR|URL",
        writes="folder",
        url="write",
    )
    disk_cache: float | None = option(
        None, "gigabytes that copies of the maps of a run at a URL may take here (default: any)", metavar="GB", above=0
    )
    limit: int | None = option(None, "use only the first N images of each split", metavar="N", minimum=1)
    skip_bad: bool = option(False, "leave out unusable images and list them at the end, instead of stopping")


@dataclass(frozen=True)
class TrainSplitSettings(RunSettings):
    """Which split is for training."""

    train_split: str | None = option(None, "split to train on (default: trainval, or train)", metavar="NAME")


@dataclass(frozen=True)
class TestSplitSettings(RunSettings):
    """Which split is for testing."""

    __test__ = False  # not a test case, despite its name

    test_split: str | None = option(None, "split to test on (default: test, or val)", metavar="NAME")


@dataclass(frozen=True)
class InferenceSettings(Settings):
    """How the scores of windows become detections."""

    inference: Inference | None = option(
        None,
        "paper suppresses windows, then regresses them; fast regresses first, and all windows of an object vote for "
        "its box; best also takes means over several views, such as the mirror image (default: what the model states)",
    )
    nms_iou: float | None = option(
        None,
        "largest overlap of two detections of a class, of which the better one suppresses the other (default: what "
        "the model states)",
        metavar="IOU",
        above=0,
        maximum=1,
    )
