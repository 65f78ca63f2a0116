"""The published constants of the system, each with its source, as two presets.

`PAPER` is what He et al. (2014) describe; `RELEASED` is what the authors' program does where it differs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from detection.plain_values import MAY_BE_ABSENT, Limits, read

ScaleRule = Literal["paper", "released"]
Precision = Literal["fp32", "bf16"]
Inference = Literal["paper", "fast", "best"]

LARGEST_SIDE = 1 << 13  # pixels
MOST_BINS = 256  # per side of a level
SMALLEST_VIEW, LARGEST_VIEW = 0.1, 10.0

# What a model's file may hold, see `plain_values`: far more than is of use, but no more than memory holds.
Count = Annotated[int, Limits(0, 10**9)]
Seed = Annotated[int, Limits(0, 2**63)]
Bins = Annotated[int, Limits(1, MOST_BINS)]
Share = Annotated[float, Limits(0, 1)]
Factor = Annotated[float, Limits(0, 1e9)]
Positive = Annotated[float, Limits(0, 1e9, above=True)]
Scales = Annotated[tuple[Annotated[int, Limits(1, LARGEST_SIDE)], ...], Limits(1, 100)]
Levels = Annotated[tuple[Bins, ...], Limits(1, 100)]
Context = Annotated[tuple[Annotated[float, Limits(0, 100, above=True)], ...], Limits(0, 100)]
Schedule = Annotated[tuple[tuple[Count, Factor], ...], Limits(1, 1000)]


@dataclass(frozen=True)
class PoolingConfig:
    """From a box to its pooled vector: paper section 4.1 and appendix; spp_features_convX_to_poolX.m."""

    scales: Scales = (480, 576, 688, 864, 1200)  # short sides in pixels; section 4.1
    rule: ScaleRule = "paper"  # how the scale of a window is chosen and the window is scaled
    # Pixels by which windows shrink per side before rounding; None: centres inside.
    offset: Annotated[float, Limits(-1000, 1000)] | None = None
    levels: Levels = (1, 2, 3, 6)  # bins per side, in the order that fc6 was trained with
    # Larger windows around each window, sizes relative to its sides, pooled beside it. Neither source has them.
    # Fingerprints hold the repr of older trainings, so they add these fields themselves.
    context: Context = field(default=(), repr=False, metadata=MAY_BE_ABSENT)
    context_levels: Levels = field(default=(1, 2, 3), repr=False, metadata=MAY_BE_ABSENT)  # of each of them

    @property
    def pyramids(self) -> tuple[tuple[int, ...], ...]:
        """The levels of the window, then those of each larger window around it."""
        return (self.levels, *(self.context_levels for _ in self.context))

    @property
    def bins(self) -> int:
        """Number of bins that a window is pooled to; a pooled vector has so many times the channels."""
        return sum(n * n for levels in self.pyramids for n in levels)


@dataclass(frozen=True)
class FinetuneConfig:
    """Training of fc6, fc7 and a softmax layer over frozen convolutions: paper section 4.1; spp_finetune_voc.m."""

    positives: Count = 32  # positive windows per batch
    negatives: Count = 96  # negative windows per batch
    positive_iou: Share = 0.5  # smallest overlap of a positive with its best object
    negative_iou: tuple[Share, Share] = (0.1, 0.5)  # of a negative with its best object: at least, less than
    schedule: Schedule = ((250_000, 1e-4), (50_000, 1e-5))  # (iterations, learning rate), in order
    momentum: Share = 0.9
    weight_decay: Factor = 5e-4  # except for the bias of the softmax layer
    random_scale: bool = False  # pool windows at a random scale instead of the chosen one
    pool_factor: Count = 10  # draw a block from images with this many times its windows; nTimesMoreData


@dataclass(frozen=True)
class SVMConfig:
    """Per-class linear SVMs with one pass of hard-negative mining: paper section 4.1; spp_train.m."""

    cost: Positive = 1e-3  # liblinear -c
    positive_weight: Positive = 2.0  # liblinear -w1
    bias_feature: Factor = 10.0  # liblinear -B; the bias is regularised
    feature_norm: Positive = 20.0  # mean L2 norm of the scaled features; spp_scale_features.m
    negative_iou: Share = 0.3  # a negative overlaps every object of the class by less
    hard_threshold: float = -1.0001  # a negative above this score is hard
    evict_threshold: float = -1.2  # a negative below this score is dropped after training
    retrain_after: Count = 2000  # number of new negatives after which a class is trained again
    thinning_iou: Share | None = 0.7  # of negatives that overlap by more, the best-scored is kept; section 4.1
    difficult: bool = True  # difficult objects are positives


@dataclass(frozen=True)
class BoxRegressionConfig:
    """Ridge regression from pooled conv5 to the object's box: paper section 4.1; bbox_regression/*.m."""

    min_iou: Share = 0.5  # smallest overlap of a training window with its object
    strict: bool = False  # the overlap must be larger than `min_iou`
    ridge: Factor = 4000.0  # lambda of train_bbox_regressor.m; the paper gives none
    feature_norm: Positive = 20.0  # mean L2 norm of the scaled features; spp_scale_features.m
    max_windows: Count | None = field(default=None, metadata=MAY_BE_ABSENT)  # per class, at random; None: all


@dataclass(frozen=True)
class View:
    """How a photo is looked at: its size, relative to that in training, and whether it is mirrored."""

    scale: Annotated[float, Limits(SMALLEST_VIEW, LARGEST_VIEW)] = 1.0  # factor on the short sides of the training
    mirror: bool = False

    def __str__(self) -> str:
        return f"{self.scale:g}{'m' * self.mirror}"

    def scales(self, trained: Sequence[int]) -> tuple[int, ...]:
        """Return the short sides of this view, in pixels."""
        return tuple(round(self.scale * side) for side in trained)

    @classmethod
    def parse(cls, text: str) -> View:
        """Read a view from its factor, followed by m if it is mirrored: "1", "1m", "0.7".

        Raises:
            ValueError: the text is something else.
        """
        found = re.fullmatch(r"(\d*\.?\d+)(m?)", text)
        if not found or not SMALLEST_VIEW <= float(found[1]) <= LARGEST_VIEW:
            raise ValueError(f"view: expected a factor from 0.1 to 10, with m if mirrored, as 0.7 or 1m; got {text!r}")
        return cls(float(found[1]), found[2] == "m")

    @classmethod
    def parse_all(cls, texts: Sequence[str]) -> tuple[View, ...]:
        """Read several views, see `parse`."""
        return tuple(map(cls.parse, texts))


Views = Annotated[tuple[View, ...], Limits(1, 100)]
PHOTO_AND_MIRROR_IMAGE = (View(), View(mirror=True))


@dataclass(frozen=True)
class VotingConfig:
    """Regression before suppression, box voting, several views of a photo: see `detection.voting`."""

    windows: Count = 300  # per class, the best-scored, which are regressed, suppressed and vote
    iou: Share = 0.5  # smallest overlap of a voter with the box that it votes for
    sharpness: Factor = 2.0  # a vote weighs exp(sharpness * score)
    views: Views = (View(),)  # scores and targets of a window are means over these
    # Per class, the best-scored on the first view; others are not pooled on further views.
    looked_at_again: Count = field(default=150, metadata=MAY_BE_ABSENT)


@dataclass(frozen=True)
class TestConfig:
    """From scores to detections: spp_test.m."""

    score_threshold: float = -1.5  # windows with a lower score are dropped
    # A window is suppressed by a better one that it overlaps by more.
    nms_iou: Annotated[float, Limits(0, 1, above=True)] = 0.3
    max_per_image: Count = 100  # detections per image and class
    # None: what suppression keeps is regressed and suppressed again.
    voting: VotingConfig | None = field(default=None, metadata=MAY_BE_ABSENT)

    __test__ = False  # tells pytest that this is not a test class


@dataclass(frozen=True)
class Config:
    """All constants that decide what a trained detector computes, besides its network and its data."""

    preset: Literal["paper", "released"] = "paper"
    precision: Precision = "fp32"  # of the convolutions; single precision in both sources
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    svm: SVMConfig = field(default_factory=SVMConfig)
    bbox: BoxRegressionConfig = field(default_factory=BoxRegressionConfig)
    test: TestConfig = field(default_factory=TestConfig)
    # What inference "best" looks at.
    best_views: Views = field(default=PHOTO_AND_MIRROR_IMAGE, metadata=MAY_BE_ABSENT)

    def with_scales(self, scales: tuple[int, ...]) -> Config:
        """Return the same configuration with other short sides, in pixels."""
        return replace(self, pooling=replace(self.pooling, scales=scales))

    @property
    def views(self) -> tuple[View, ...]:
        """The views of a photo that its detections are made from."""
        return self.test.voting.views if self.test.voting else (View(),)

    @property
    def inference(self) -> str | None:
        """The name of this way of inference, whatever its threshold and overlap; None if it has none."""
        return next((name for name in INFERENCE if self.with_inference(name) == self), None)

    def with_inference(self, name: str) -> Config:
        """Return the same configuration with one of the three ways of `INFERENCE`.

        Score threshold and overlap stay, and "best" looks at `best_views`.

        Raises:
            ValueError: there is no way of this name.
        """
        if name not in INFERENCE:
            raise ValueError(f"inference: expected {', '.join(INFERENCE)}, got {name!r}")
        test = replace(INFERENCE[name], score_threshold=self.test.score_threshold, nms_iou=self.test.nms_iou)
        if name == "best" and test.voting:
            test = replace(test, voting=replace(test.voting, views=self.best_views))
        return replace(self, test=test)

    def with_nms_iou(self, iou: float) -> Config:
        """Return the same configuration with another overlap above which a detection suppresses a worse one.

        Raises:
            ValueError: it is not in (0, 1].
        """
        if not 0 < iou <= 1:
            raise ValueError(f"nms_iou: expected more than 0 and at most 1, got {iou}")
        return replace(self, test=replace(self.test, nms_iou=iou))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = asdict(self)
        if self.test.voting is None:
            del values["test"]["voting"]  # as models were written before there was voting
        if self.best_views == PHOTO_AND_MIRROR_IMAGE:
            del values["best_views"]
        if self.bbox.max_windows is None:
            del values["bbox"]["max_windows"]
        if not self.pooling.context:
            del values["pooling"]["context"], values["pooling"]["context_levels"]
        return values

    @classmethod
    def from_dict(cls, values: Any) -> Config:
        """Return the configuration of plain values, the inverse of `to_dict`.

        Older models lack what came later; it then has its default.

        Raises:
            ValueError: a field is missing or unknown, or of another kind than its annotation says; the line names it.
        """
        found: Config = read(cls, values, "config")
        return found


PAPER = Config()
RELEASED = Config(
    preset="released",
    pooling=PoolingConfig(scales=(480, 576, 688, 874, 1200), rule="released", offset=6.5),
    finetune=FinetuneConfig(schedule=((30_000, 1e-3), (30_000, 1e-4), (140_000, 1e-5)), random_scale=True),
    svm=SVMConfig(thinning_iou=None),
    bbox=BoxRegressionConfig(strict=True),
)
PRESETS = {config.preset: config for config in (PAPER, RELEASED)}

INFERENCE = {
    "paper": TestConfig(),
    "fast": TestConfig(voting=VotingConfig()),
    "best": TestConfig(voting=VotingConfig(views=PHOTO_AND_MIRROR_IMAGE)),
}
"""Three ways from scores to detections. "paper" suppresses, regresses and suppresses again, as the authors' program."""
