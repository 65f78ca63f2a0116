"""The numbers of the system, each with its source, as two presets.

`PAPER` is what He et al. (2014) describe, `RELEASED` what the authors' program does where it differs.
Only the tools and `SPPDetector` see these classes; everything below them takes plain values.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

ScaleRule = Literal["paper", "released"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class PoolingConfig:
    """From a box to its pooled vector: paper section 4.1 and appendix; spp_features_convX_to_poolX.m."""

    scales: tuple[int, ...] = (480, 576, 688, 864, 1200)  # short sides in pixels; section 4.1
    rule: ScaleRule = "paper"  # how a window picks its scale and is scaled
    offset: float | None = None  # pixels a window shrinks a side before rounding; None: centres strictly inside
    levels: tuple[int, ...] = (1, 2, 3, 6)  # bins a side; the order is the one fc6 was trained with


@dataclass(frozen=True)
class FinetuneConfig:
    """Training of fc6, fc7 and a softmax layer over frozen convolutions: paper section 4.1; spp_finetune_voc.m."""

    positives: int = 32  # windows a batch
    negatives: int = 96
    positive_iou: float = 0.5  # with the best object: at least
    negative_iou: tuple[float, float] = (0.1, 0.5)  # at least, less than
    schedule: tuple[tuple[int, float], ...] = ((250_000, 1e-4), (50_000, 1e-5))  # (iterations, learning rate), in order
    momentum: float = 0.9
    weight_decay: float = 5e-4  # not on the bias of the softmax layer
    random_scale: bool = False  # a window is pooled at a random scale rather than at its own
    pool_factor: int = 10  # a block is drawn from images with at least this many times its windows; nTimesMoreData


@dataclass(frozen=True)
class SVMConfig:
    """Per-class linear SVMs with one pass of hard-negative mining: paper section 4.1; spp_train.m."""

    cost: float = 1e-3  # liblinear -c
    positive_weight: float = 2.0  # liblinear -w1
    bias_feature: float = 10.0  # liblinear -B; the bias is regularised
    feature_norm: float = 20.0  # mean L2 norm that features are scaled to; spp_scale_features.m
    negative_iou: float = 0.3  # negatives overlap every object of the class by less
    hard_threshold: float = -1.0001  # a negative above this score is hard
    evict_threshold: float = -1.2  # a cached negative below this score is dropped after training
    retrain_after: int = 2000  # new negatives of a class that start a new training
    thinning_iou: float | None = 0.7  # of negatives overlapping more, only the best-scored stays; section 4.1
    difficult: bool = True  # difficult objects are positives


@dataclass(frozen=True)
class BoxRegressionConfig:
    """Ridge regression from pooled conv5 to the object's box: paper section 4.1; bbox_regression/*.m."""

    min_iou: float = 0.5  # training windows overlap their object by at least this much
    strict: bool = False  # by strictly more
    ridge: float = 4000.0  # lambda; the paper gives none, this is train_bbox_regressor.m's
    feature_norm: float = 20.0


@dataclass(frozen=True)
class TestConfig:
    """From scores to detections: spp_test.m."""

    score_threshold: float = -1.5
    nms_iou: float = 0.3
    max_per_image: int = 100  # of each class

    __test__ = False  # not a test case, whatever pytest makes of the name


@dataclass(frozen=True)
class Config:
    """Everything that decides what a trained detector computes, apart from its network and its data."""

    preset: str = "paper"
    precision: Precision = "fp32"  # of the convolutions; neither source goes below single
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    svm: SVMConfig = field(default_factory=SVMConfig)
    bbox: BoxRegressionConfig = field(default_factory=BoxRegressionConfig)
    test: TestConfig = field(default_factory=TestConfig)

    def with_scales(self, scales: tuple[int, ...]) -> Config:
        """The same configuration at other short sides."""
        return replace(self, pooling=replace(self.pooling, scales=scales))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """Inverse of `to_dict`.

        Raises:
            TypeError: a field is unknown or missing.
        """
        pooling, finetune = ({k: _tuples(v) for k, v in values[part].items()} for part in ("pooling", "finetune"))
        return cls(
            values["preset"],
            values["precision"],
            PoolingConfig(**pooling),
            FinetuneConfig(**finetune),
            SVMConfig(**values["svm"]),
            BoxRegressionConfig(**values["bbox"]),
            TestConfig(**values["test"]),
        )


def _tuples(value: Any) -> Any:
    """The value with lists, which json makes of tuples, as tuples again."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


PAPER = Config()
RELEASED = Config(
    preset="released",
    pooling=PoolingConfig(scales=(480, 576, 688, 874, 1200), rule="released", offset=6.5),
    finetune=FinetuneConfig(schedule=((30_000, 1e-3), (30_000, 1e-4), (140_000, 1e-5)), random_scale=True),
    svm=SVMConfig(thinning_iou=None),
    bbox=BoxRegressionConfig(strict=True),
)
PRESETS = {config.preset: config for config in (PAPER, RELEASED)}
