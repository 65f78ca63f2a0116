"""Settings of the stages of detection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from detection.config import LARGEST_SIDE, MOST_BINS, PHOTO_AND_MIRROR_IMAGE, View
from sppnet.settings.base import Settings, option
from sppnet.settings.shared import (
    DeviceSettings,
    EngineSettings,
    Inference,
    InferenceSettings,
    MetricSettings,
    OverwriteSettings,
    Precision,
    SeedSettings,
    TestSplitSettings,
    TrainSplitSettings,
    WeightsSettings,
)

Features = Literal["pool5", "fc6", "fc7", "pool5+fc7"]


@dataclass(frozen=True)
class ProposalSettings(Settings):
    """Which proposals a stage reads."""

    proposals: str | None = option(
        None,
        "ss, ss-single, ss-quality, edgeboxes, ss+edgeboxes, grid or ss+grid (default: what the run or its model has, "
        "else ss); or a .npz, .mat or .json file of boxes, where {split} stands for the split",
        metavar="SOURCE|FILE",
    )
    max_boxes: int | None = option(
        None, "use only the N best-ranked proposals per image (default: all)", metavar="N", minimum=1
    )


@dataclass(frozen=True)
class SearchSettings(ProposalSettings, EngineSettings, SeedSettings, OverwriteSettings):
    """How proposals are searched."""

    proposals: str | None = option(
        None,
        "ss, ss-single, ss-quality, edgeboxes, ss+edgeboxes, grid (windows of the training objects' shapes) or ss+grid "
        "(default: ss); or a .npz, .mat or .json file of boxes, where {split} stands for the split",
        metavar="SOURCE|FILE",
    )
    min_side: int = option(20, "shortest side of a proposal, pixels", metavar="N", minimum=0)
    max_side: int = option(
        1000, "larger photos are searched at this long side, pixels", metavar="N", minimum=1, maximum=1 << 15
    )


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """Which convolutions, at which scales."""

    backbone: str | None = option(
        None,
        "convolutions: alexnet, vgg16, lite0, lite1, lite2, zf5 (with --weights), torchvision:NAME or timm:NAME "
        "(default: alexnet, or what the run has)",
        metavar="NAME",
    )
    preset: Literal["paper", "released"] | None = option(
        None, "constants of the paper or of the authors' program (default: paper, or what the features have)"
    )
    scales: tuple[int, ...] | None = option(
        None, "short sides in pixels (default: the preset's five)", metavar="N", minimum=1, maximum=LARGEST_SIDE
    )
    precision: Precision | None = option(
        None, "precision of the convolutions (default: fp32, or what the features have)"
    )


@dataclass(frozen=True)
class PyramidSettings(Settings):
    """The spatial pyramid."""

    levels: tuple[int, ...] | None = option(
        None, "bins per side of each pyramid level (default: 1 2 3 6)", metavar="N", minimum=1, maximum=MOST_BINS
    )
    context: tuple[float, ...] | None = option(
        None,
        "also pool larger windows around each window, so many times its size, with 1, 2 and 3 bins per side "
        "(default: none)",
        metavar="SIZE",
        above=1,
        maximum=10,
    )


@dataclass(frozen=True)
class LearningSettings(TrainSplitSettings, NetworkSettings, PyramidSettings, ProposalSettings):
    """What a stage learns from: a split, features and proposals."""


@dataclass(frozen=True)
class ModelNameSettings(Settings):
    """Which model of the run."""

    model_name: str = option("model", "name of the model's folder within the run", metavar="NAME")

    def __post_init__(self) -> None:
        super().__post_init__()
        if Path(self.model_name).name != self.model_name or self.model_name.startswith("."):
            raise ValueError(f"model_name: expected the name of a folder in the run, got {self.model_name!r}")


@dataclass(frozen=True)
class ViewSettings(Settings):
    """What inference "best" looks at."""

    views: tuple[str, ...] | None = option(
        None,
        "what inference best looks at: sizes of the photo, relative to the training's, with m if mirrored; 0.7 1.25m "
        "suits objects of any size, 1 1m objects whose size in the photo is informative (default: what the model has, "
        "else 1 1m)",
        metavar="VIEW",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.views:
            View.parse_all(self.views)


@dataclass(frozen=True)
class TrainViewSettings(Settings):
    """Which views of the training photos are learned from."""

    train_views: tuple[str, ...] | None = option(
        None,
        "views that training learns from: sizes of the photos, relative to --scales, with m if mirrored, such as 1 "
        "0.7m; layers and box regressors learn from each, SVMs from the mean features, and inference best looks at "
        "them (default: 1)",
        metavar="VIEW",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        views = View.parse_all(self.train_views or ())
        if len(set(views)) < len(views):
            raise ValueError(f"train_views: expected different views, got {' '.join(map(str, views))}")


@dataclass(frozen=True)
class LearnedViewSettings(TrainViewSettings):
    """Which views of the training photos fine-tuning learns from."""

    mirror: bool | None = option(False, "also fine-tune on mirror images")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_views and self.mirror:
            raise ValueError("mirror: goes without train_views, which name the mirrored ones")

    @property
    def learned_views(self) -> tuple[View, ...]:
        """The views that fine-tuning learns from."""
        if self.train_views:
            return View.parse_all(self.train_views)
        return PHOTO_AND_MIRROR_IMAGE if self.mirror else PHOTO_AND_MIRROR_IMAGE[:1]


@dataclass(frozen=True)
class ExtractProposalsSettings(TrainSplitSettings, TestSplitSettings, SearchSettings):
    """Settings of `sppnet stage extract-proposals`."""

    MAIN: ClassVar = ("data", "voc2007", "run", "proposals", "workers")


@dataclass(frozen=True)
class FeatureSettings(
    TrainSplitSettings,
    TestSplitSettings,
    NetworkSettings,
    SearchSettings,
    ViewSettings,
    LearnedViewSettings,
    WeightsSettings,
    DeviceSettings,
):
    """Settings of `sppnet stage extract-features`."""

    MAIN: ClassVar = ("data", "voc2007", "run", "backbone", "scales")

    mirror: bool | None = option(False, "also convolve mirror images, for fine-tuning with --mirror")
    inference: Inference | None = option(
        None, "also convolve the test images as this way of inference looks at them, for test-net --inference"
    )


@dataclass(frozen=True)
class FinetuneSettings(LearningSettings, SeedSettings, OverwriteSettings, LearnedViewSettings, DeviceSettings):
    """Settings of `sppnet stage finetune`."""

    MAIN: ClassVar = ("data", "voc2007", "run", "schedule", "mirror")

    start: str = option("random", "initial fc6 and fc7: random, imagenet or a file", metavar="random|imagenet|FILE")
    width: int = option(1024, "outputs of fc6 and fc7, when they start from random numbers", metavar="N", minimum=1)
    schedule: str | None = option(
        None, "short, preset (the preset's), or ITERATIONS:RATE,ITERATIONS:RATE (default: short)", metavar="SCHEDULE"
    )
    validation: float | None = option(
        None, "share of the images held out for validation (default: a tenth)", metavar="SHARE", above=0
    )
    validate_every: int | None = option(
        None, "iterations between validations (default: a sixth of all, 500 at most)", metavar="N", minimum=1
    )
    block: int | None = option(100, "batches pooled at a time", metavar="N", minimum=1)
    subspace: int | None = option(
        None,
        "learn fc6, when it starts from random numbers, in the span of so many training windows, which is twice as "
        "fast; 0: on all of pool5 (default)",
        metavar="N",
        minimum=0,
    )
    difficult: bool = option(True, "use difficult objects as positives")
    box_loss: float = option(
        0.0, "weight of a loss of regressed boxes beside that of classes (as Fast R-CNN's); 0: none", minimum=0
    )


@dataclass(frozen=True)
class MemorySettings(Settings):
    """How much memory training may take."""

    memory: float = option(6.0, "gigabytes for feature rows and Gram matrices held in memory", metavar="GB", above=0)


@dataclass(frozen=True)
class BboxFeatureSettings(Settings):
    """What box regressors learn from."""

    bbox_features: Literal["pool5", "fc"] | None = option(
        "pool5", "what box regressors learn from: pool5, as in the paper, or fc, the same layer as the SVMs"
    )
    bbox_min_iou: float | None = option(
        None,
        "smallest overlap of a window with its object that box regressors learn from (default: 0.5, as in the paper; "
        "0.6 with --bbox-features fc)",
        metavar="IOU",
        above=0,
        below=1,
    )
    bbox_windows: int | None = option(
        None,
        "at most so many windows per class that box regressors learn from, chosen at random (default: all)",
        metavar="N",
        minimum=1,
    )


@dataclass(frozen=True)
class SVMSettings(
    LearningSettings,
    BboxFeatureSettings,
    ModelNameSettings,
    MemorySettings,
    EngineSettings,
    SeedSettings,
    OverwriteSettings,
    TrainViewSettings,
):
    """Settings of `sppnet stage train-svms`."""

    MAIN: ClassVar = ("data", "voc2007", "run", "features", "memory")

    engine: Literal["local", "processes", "ray"] | None = option(
        None,
        "mine hard negatives in rounds that workers share, and let them train the box regressors: in this process "
        "(local), in processes of this machine, or on a ray cluster (see the documentation, Many machines); each gives "
        "the same model (default: one photo after the other in this process, another model of equal accuracy)",
    )

    features: Features | None = option(
        "pool5", "what the SVMs learn from; pool5+fc7: SVMs on each, whose margins are averaged"
    )
    head: str | None = option(
        None,
        "fc6 and fc7, for --features fc6 or fc7 (default: the fine-tuned ones of the run)",
        metavar="FILE|imagenet|random",
    )
    energy: float | None = option(
        None,
        "share of the variance of fc6 and fc7 to keep, for smaller and faster layers that the SVMs then learn from",
        metavar="SHARE",
        above=0,
        maximum=1,
    )
    cost: float | None = option(
        None, "cost of a violated margin, C of the SVMs (default: 0.001, as in the paper)", metavar="C", above=0
    )
    softmax_weight: float = option(
        0.0,
        "add so many times the log-odds of the fine-tuned softmax layer to the margins of the SVMs, for --features fc7",
        metavar="FACTOR",
        minimum=0,
    )
    solver: Literal["shared", "liblinear"] = option(
        "shared", "shared trains all classes on one copy of the rows, liblinear is scikit-learn's LinearSVC"
    )
    max_negatives_per_image: int | None = option(
        None, "at most N hard negatives per image and class (default: all)", metavar="N", minimum=1
    )
    difficult: bool = option(True, "use difficult objects as positives")
    bbox_regression: bool = option(True, "also train box regressors")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features == "pool5" and self.bbox_features == "fc":
            raise ValueError(
                "bbox_features: fc goes with features fc6, fc7 or pool5+fc7; SVMs on pool5 use no such layer"
            )
        if self.softmax_weight and (self.features != "fc7" or self.head is not None):
            raise ValueError(
                "softmax_weight: goes with features fc7 and the layers fine-tuned in the run, without head"
            )


@dataclass(frozen=True)
class BboxRegressorSettings(
    TrainSplitSettings,
    ProposalSettings,
    BboxFeatureSettings,
    ModelNameSettings,
    MemorySettings,
    OverwriteSettings,
    EngineSettings,
):
    """Settings of `sppnet stage train-bbox-regressors`."""

    MAIN: ClassVar = ("data", "voc2007", "run", "model_name", "memory")


@dataclass(frozen=True)
class CalibrateSettings(
    TrainSplitSettings,
    ProposalSettings,
    ModelNameSettings,
    ViewSettings,
    MemorySettings,
    OverwriteSettings,
    WeightsSettings,
    DeviceSettings,
):
    """Settings of `sppnet stage calibrate`."""

    MAIN: ClassVar = ("data", "voc2007", "run", "model_name", "memory")

    inference: Inference | None = option(
        None,
        "way of inference whose detections get probabilities, which the model states from then on (default: what the "
        "model states)",
    )


@dataclass(frozen=True)
class TestSettings(
    TestSplitSettings, ProposalSettings, InferenceSettings, EngineSettings, OverwriteSettings, MetricSettings
):
    """Settings of `sppnet stage test-net`."""

    __test__ = False  # not a test case, despite its name
    MAIN: ClassVar = ("data", "voc2007", "run", "model", "scales")

    model: tuple[Path, ...] | None = option(
        None,
        "model folders, each in the run folder that holds its features; several score together (default: RUN/model)",
        metavar="DIR",
    )
    scores: Literal["svm", "softmax"] = option("svm", "score with the SVMs or with the fine-tuned softmax layer")
    combine: Literal["union", "mean"] = option(
        "union", "several models: suppress over the union of their windows, or average scores of the same windows"
    )
    scales: tuple[int, ...] | None = option(
        None, "short sides in pixels (default: those of the training)", metavar="N", minimum=1, maximum=LARGEST_SIDE
    )
    pictures: int = option(0, "draw the detections of N images", metavar="N", minimum=0)
