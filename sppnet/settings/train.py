"""Settings of the training that runs all stages of detection."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from detection.config import LARGEST_SIDE, PAPER
from sppnet.settings.base import option
from sppnet.settings.detector import Features, FeatureSettings, FinetuneSettings, SVMSettings
from sppnet.settings.shared import Inference, MetricSettings, PathSettings, Precision


@dataclass(frozen=True)
class TrainSettings(FeatureSettings, FinetuneSettings, SVMSettings, MetricSettings, PathSettings):
    """Settings of `sppnet train` and `sppnet.train_detector`: all stages, defaults for small data sets."""

    MAIN: ClassVar = ("data", "run", "backbone", "scales", "features")

    features: Features | None = option(
        None,
        "what the SVMs learn from: pool5, fully connected layers that are fine-tuned first, or both, with margins "
        "averaged, which is best and takes longest (default: pool5+fc7; fc7 for more than 30 classes, pool5 for "
        "a handful of objects)",
    )
    backbone: str | None = option(
        "lite0", "convolutions: lite0, lite1, lite2, alexnet, vgg16, torchvision:NAME or timm:NAME", metavar="NAME"
    )
    proposals: str | None = option(
        None,
        "ss, ss-single, ss-quality, edgeboxes, ss+edgeboxes, grid (windows of the training objects' shapes), ss+grid "
        "(default: ss, grid or both, whatever fits the objects best); or a file of boxes, where {split} stands for the "
        "split",
        metavar="SOURCE|FILE",
    )
    scales: tuple[int, ...] | None = option(
        None,
        "short sides in pixels (default: 688, or 864 or 1200 if the objects of a class are small)",
        metavar="N",
        minimum=1,
        maximum=LARGEST_SIDE,
    )
    cost: float | None = option(
        None,
        "cost of a violated margin, C of the SVMs (default: 4 / number of photos, from 0.001 to 0.02)",
        metavar="C",
        above=0,
    )
    precision: Precision | None = option(
        None, "precision of the convolutions (default: bf16 where the device is faster with it)"
    )
    mirror: bool | None = option(None, "fine-tune on mirror images too (default, unless --train-views are given)")
    schedule: str | None = option(
        None,
        "of fine-tuning: short, preset (the preset's), or ITERATIONS:RATE,ITERATIONS:RATE (default: a third as many "
        "iterations as objects, from 300 to 8000)",
        metavar="SCHEDULE",
    )
    validation: float | None = option(
        None,
        "share of the images held out from fine-tuning (default: 60 images, but a tenth at least and 15 % at most; 6 "
        "images of fewer than 40, or 30 %)",
        metavar="SHARE",
        above=0,
        below=1,
    )
    block: int | None = option(
        None, "batches pooled at a time (default: 250 in a subspace, else 50)", metavar="N", minimum=1
    )
    subspace: int | None = option(
        None,
        "learn fc6, when it starts from random numbers, in the span of so many training windows; 0: on all of pool5 "
        "(default: 2048; 0 for more than 5000 objects)",
        metavar="N",
        minimum=0,
    )
    energy: float | None = option(
        None,
        "share of the variance of fc6 and fc7 to keep, for smaller and faster layers; 1: all (default: 0.95)",
        metavar="SHARE",
        above=0,
        maximum=1,
    )
    bbox_features: Literal["pool5", "fc"] | None = option(
        None, "what box regressors learn from: pool5 or the features of the SVMs (default: pool5)"
    )
    inference: Inference | None = option(
        None, "how the detector is used and tested, as in `sppnet detect` (default: fast)"
    )
    nms_iou: float | None = option(
        None, "largest overlap of two detections of a class (default: 0.3)", metavar="IOU", above=0, maximum=1
    )
    classes: tuple[str, ...] | None = option(None, "train on these classes only (default: all)", metavar="NAME")
    max_negatives_per_image: int | None = option(
        None, "at most N hard negatives per image and class (default: 100)", metavar="N", minimum=1
    )
    bbox_windows: int | None = option(
        None,
        "at most so many windows per class that box regressors learn from, chosen at random (default: 4000)",
        metavar="N",
        minimum=1,
    )
    budget: str = option(
        "10m",
        "how long the training may take on this machine, as 90s, 10m or 2h; what is chosen fits, if anything does",
        metavar="TIME",
    )
    engine: Literal["local", "processes", "ray"] | None = option(
        None,
        "where the work on many photos runs, SVMs and box regressors included: local (in this process), processes (on "
        "this machine) or ray (a Ray cluster; see the documentation, Many machines), with the same results; SVMs are "
        "then mined in rounds (default: processes to search for windows, else this process without rounds)",
    )
    calibrate: bool = option(True, "also learn how likely each detection is to be correct")

    def __post_init__(self) -> None:
        super().__post_init__()
        duration(self.budget)

    @property
    def budget_seconds(self) -> float:
        """How long the training may take."""
        return duration(self.budget)


def duration(text: str) -> float:
    """Seconds of a duration such as "90s", "10m" or "1.5h".

    Raises:
        ValueError: the text is something else.
    """
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([smh])", text.strip())
    if not found or not float(found[1]):
        raise ValueError(f"budget: expected a time such as 90s, 10m or 2h, got {text!r}")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


@dataclass(frozen=True)
class DemoSettings(TrainSettings):
    """Settings of `sppnet demo`."""

    MAIN: ClassVar = ("train", "test", "run", "backbone", "features")
    HIDDEN: ClassVar = ("path", "data", "images", "voc2007", "download", "data_root", "train_split", "test_split")

    train: int = option(120, "training images to generate", metavar="N", minimum=1)
    test: int = option(60, "test images to generate", metavar="N", minimum=1)
    devkit: Path | None = option(
        Path("datasets/minivoc"), "folder of the generated data set", metavar="DIR", writes="folder"
    )
    run: Path | None = option(Path("runs/minivoc"), "folder of this run's files", metavar="DIR", writes="folder")
    backbone: str | None = option("alexnet", "convolutions, as in `sppnet train`", metavar="NAME")
    features: Features | None = option("pool5", "what the SVMs learn from, as in `sppnet train`")
    precision: Precision | None = option("fp32", "precision of the convolutions")
    proposals: str | None = option("ss", "windows, as in `sppnet train`", metavar="SOURCE|FILE")
    scales: tuple[int, ...] | None = option(
        (688,), "short sides in pixels", metavar="N", minimum=1, maximum=LARGEST_SIDE
    )
    cost: float | None = option(PAPER.svm.cost, "cost of a violated margin, C of the SVMs", metavar="C", above=0)
    inference: Inference | None = option("paper", "how the detector is used and tested, as in `sppnet detect`")
