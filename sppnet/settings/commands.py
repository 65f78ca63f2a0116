"""Settings of the commands around a training: on trained detectors, labelled photos and tested runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from detection.config import LARGEST_SIDE
from sppnet.settings.base import Settings, option
from sppnet.settings.detector import ModelNameSettings, ProposalSettings, ViewSettings
from sppnet.settings.shared import (
    DatasetSettings,
    DeviceSettings,
    EngineSettings,
    Inference,
    InferenceSettings,
    Metric,
    MetricSettings,
    PathSettings,
    RunSettings,
    SeedSettings,
    TestSplitSettings,
    TrainSplitSettings,
    WeightsSettings,
)

BUNDLED = "lite0-voc2007"  # the detector that is used where none is named
Order = Literal["yxyx", "xyxy"]
DatasetFormat = Literal["voc", "coco", "yolo", "csv", "cvat", "label-studio"]


@dataclass(frozen=True)
class DetectSettings(InferenceSettings, WeightsSettings, DeviceSettings, EngineSettings):
    """Settings of `sppnet detect`."""

    MAIN: ClassVar = ("model", "save", "csv", "threshold", "classes")

    sources: tuple[str, ...] = option(
        None,
        "photos, folders, patterns or videos",
        metavar="PHOTO|FOLDER|PATTERN|VIDEO",
        positional=True,
        required=True,
    )
    model: str = option(BUNDLED, "a bundled detector, or a model folder or its URL", metavar="NAME|DIR|URL", url="read")
    save: Path | None = option(
        None, "write photos and videos with boxes drawn into this folder", metavar="DIR", writes="folder"
    )
    csv: Path | None = option(None, "write one row per detection", metavar="FILE", writes="file")
    jsonl: Path | None = option(
        None, "write one line of JSON per photo or frame of a video", metavar="FILE", writes="file"
    )
    parquet: Path | None = option(
        None, "write one row per detection as Parquet, for very many photos", metavar="FILE", writes="file"
    )
    crop: Path | None = option(
        None, "write cut-out objects into this folder, one folder per class", metavar="DIR", writes="folder"
    )
    export: DatasetFormat | None = option(
        None, "write photos with their detections as labels, for labelling tools and other programs, into --export-to"
    )
    export_to: Path | None = option(None, "folder of --export, absent or empty", metavar="DIR", writes="folder")
    threshold: float | None = option(
        None,
        "lowest probability to keep (default: that of each class, which the model states)",
        metavar="P",
        minimum=0,
        maximum=1,
    )
    score_threshold: float | None = option(
        None, "lowest SVM margin to keep, instead of a probability (default for models without: -0.5)", metavar="S"
    )
    classes: tuple[str, ...] | None = option(None, "keep only these classes", metavar="NAME")
    scales: tuple[int, ...] | None = option(
        None, "short sides in pixels (default: those of the training)", metavar="N", minimum=1, maximum=LARGEST_SIDE
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None and self.score_threshold is not None:
            raise ValueError("threshold: a probability goes without score_threshold, a margin; give one of them")
        if (self.export is None) != (self.export_to is None):
            raise ValueError("export: names a format, and export_to the folder; give both or none")

    @property
    def tables(self) -> list[Path]:
        """The tables to write."""
        return [path for path in (self.csv, self.jsonl, self.parquet) if path]


@dataclass(frozen=True)
class EvaluateSettings(DatasetSettings, InferenceSettings, WeightsSettings, DeviceSettings, MetricSettings):
    """Settings of `sppnet evaluate`."""

    MAIN: ClassVar = ("model", "comp4", "data", "voc2007", "split")

    model: str | None = option(
        None, "evaluate this bundled detector or model folder", metavar="NAME|DIR|URL", url="read"
    )
    comp4: Path | None = option(
        None, "evaluate the result files comp4_det_SPLIT_CLASS.txt in this folder", metavar="DIR"
    )
    split: str | None = option(None, "split to evaluate on (default: test, or val)", metavar="NAME")
    classes: tuple[str, ...] | None = option(
        None, "names of all classes, if some occur in no annotation of the split", metavar="NAME"
    )
    iou: float = option(0.5, "lowest overlap of a correct detection", metavar="IOU", above=0, maximum=1)


@dataclass(frozen=True)
class CheckSettings(PathSettings, SeedSettings):
    """Settings of `sppnet check`."""

    MAIN: ClassVar = ("data", "images", "splits", "sheet", "photos")

    splits: tuple[str, ...] | None = option(
        None, "splits to check (default: those for training and testing, else all)", metavar="NAME"
    )
    sheet: Path | None = option(
        None, "draw photos with their objects into this .png or .jpg file", metavar="FILE", writes="file"
    )
    photos: int = option(24, "photos on the sheet", metavar="N", minimum=1)


@dataclass(frozen=True)
class ConvertSettings(Settings):
    """Settings of `sppnet data convert` and `sppnet.convert_dataset`."""

    MAIN: ClassVar = ("format", "splits", "copy", "images", "skip_bad")

    data: Path = option(None, "labelled photos in any format", metavar="IN", positional=True, required=True)
    to: Path = option(
        None, "folder to write, absent or empty", metavar="OUT", positional=True, required=True, writes="folder"
    )
    format: DatasetFormat = option(None, "format to write", required=True)
    splits: tuple[str, ...] | None = option(
        None, "splits to write (default: all; train test divides data without splits)", metavar="NAME"
    )
    copy: bool = option(False, "copy photos, instead of making hard links to them")
    images: Path | None = option(None, "folder of the photos, if they are not in the data set", metavar="DIR")
    skip_bad: bool = option(False, "leave out unusable photos and name them at the end, instead of stopping")


@dataclass(frozen=True)
class SuggestSettings(WeightsSettings, DeviceSettings):
    """Settings of `sppnet suggest`."""

    MAIN: ClassVar = ("model", "count", "labelled", "csv", "copy_to")

    sources: tuple[str, ...] = option(
        None, "photos to choose from", metavar="PHOTO|FOLDER|PATTERN", positional=True, required=True
    )
    model: str | None = option(
        None, "a bundled detector or a model folder (default: compare photos only)", metavar="NAME|DIR"
    )
    count: int = option(20, "number of photos to suggest", metavar="N", minimum=1, flags=("-n",))
    labelled: Path | None = option(
        None, "labelled photos in any format; neither they nor what looks like them is suggested", metavar="DATA"
    )
    images: Path | None = option(None, "folder of the labelled photos, if they are not in the data set", metavar="DIR")
    backbone: str | None = option(
        None, "convolutions that compare photos without --model, as in `sppnet train` (default: lite0)", metavar="NAME"
    )
    csv: Path | None = option(None, "write one row per suggested photo, best first", metavar="FILE", writes="file")
    copy_to: Path | None = option(
        None, "copy the suggested photos into this folder, absent or empty", metavar="DIR", writes="folder"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model is not None and self.backbone is not None:
            raise ValueError("backbone: a model has convolutions of its own; give one of model and backbone")


@dataclass(frozen=True)
class ReportSettings(RunSettings):
    """Settings of `sppnet report`."""

    MAIN: ClassVar = ("split", "detections", "metric", "out")
    HIDDEN: ClassVar = ("skip_bad",)  # a report always goes on, and names what it left out

    folder: Path | None = option(
        None, "folder of a tested run (default: that of the data set)", metavar="RUN", positional=True, url="write"
    )
    split: str | None = option(None, "split of the test (default: the run's, test, or val)", metavar="NAME")
    detections: str | None = option(
        None, "report another model than RUN/model, the NAME in detections/SPLIT-NAME-windows.npz", metavar="NAME"
    )
    metric: Metric | None = option(None, "11-point (voc07) or area average precision (default: the run's, or voc07)")
    out: Path | None = option(None, "file to write (default: RUN/report.html)", metavar="FILE", writes="file")


@dataclass(frozen=True)
class ServeSettings(InferenceSettings, WeightsSettings, DeviceSettings, SeedSettings):
    """Settings of `sppnet serve`."""

    MAIN: ClassVar = ("model", "host", "port", "label_studio", "run")

    model: tuple[str, ...] | None = option(
        None, "model folders to offer besides the bundled detectors, the default first", metavar="NAME|DIR"
    )
    host: str = option("127.0.0.1", "address to listen on; 127.0.0.1 is this machine only", metavar="ADDRESS")
    port: int = option(8000, "port to listen on; 0 picks a free one", metavar="N")
    max_megabytes: int = option(20, "largest photo file, megabytes", metavar="N", minimum=1)
    max_megapixels: int = option(50, "largest photo, megapixels", metavar="N", minimum=1)
    label_studio: bool = option(
        False,
        "be an ML backend of Label Studio instead: show boxes in its photos and learn from every annotation; --model "
        "is then the detector to begin with (default: none)",
    )
    run: Path | None = option(
        None,
        "with --label-studio: folder that keeps one folder per project (default: runs/label-studio)",
        metavar="DIR",
        writes="folder",
    )
    backbone: str | None = option(
        None, "with --label-studio: convolutions, as in `sppnet train` (default: lite0)", metavar="NAME"
    )
    scales: tuple[int, ...] | None = option(
        None, "with --label-studio: short sides in pixels (default: 688)", metavar="N", minimum=1, maximum=LARGEST_SIDE
    )
    label_studio_url: str | None = option(
        None, "with --label-studio: its address, if it does not state the right one itself", metavar="URL"
    )
    photo_hosts: tuple[str, ...] | None = option(
        None, "with --label-studio: further hosts from which photos may be fetched", metavar="HOST[:PORT]"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("run", "backbone", "scales", "label_studio_url", "photo_hosts"):
            if getattr(self, name) is not None and not self.label_studio:
                raise ValueError(f"{name}: goes with label_studio")
        if not self.label_studio:
            return
        if self.model and len(self.model) > 1:
            raise ValueError(f"model: label_studio begins with one detector, got {len(self.model)}")
        for name in ("backbone", "scales"):
            if self.model and getattr(self, name) is not None:
                raise ValueError(f"{name}: goes without model, which has its own")
        if self.inference not in (None, "fast"):
            raise ValueError(f"inference: label_studio looks at each photo once, as fast does, got {self.inference}")


@dataclass(frozen=True)
class ExportModelSettings(
    TrainSplitSettings,
    TestSplitSettings,
    ProposalSettings,
    ModelNameSettings,
    ViewSettings,
    WeightsSettings,
    DeviceSettings,
):
    """Settings of `sppnet export model`."""

    MAIN: ClassVar = ("to", "data", "voc2007", "run", "report")

    to: Path = option(None, "folder of the packed model", metavar="DIR", required=True, writes="folder")
    energy: float | None = option(
        None, "share of the variance of fc6 and fc7 to keep, for smaller layers", metavar="SHARE"
    )
    inference: Inference | None = option(None, "how the packed detector is used (default: what the model states)")

    report: tuple[Path, ...] | None = option(
        None, "outputs of `sppnet stage test-net --json`, for the card; one per way of inference", metavar="JSON"
    )
    command: tuple[str, ...] | None = option(None, "commands that trained the model, for the card", metavar="TEXT")
    licence: str | None = option(None, "notes on the licences of data and convolutions, for the card", metavar="TEXT")


@dataclass(frozen=True)
class ExportOnnxSettings(WeightsSettings):
    """Settings of `sppnet export onnx`."""

    MAIN: ClassVar = ("model", "to", "weights")

    model: str = option(None, "a bundled detector or a model folder", metavar="NAME|DIR", required=True)
    to: Path = option(None, "folder for body.onnx and head.onnx", metavar="DIR", required=True, writes="folder")


@dataclass(frozen=True)
class EvaluateProposalsSettings(RunSettings):
    """Settings of `sppnet stage evaluate-proposals`."""

    MAIN: ClassVar = ("data", "voc2007", "run", "proposals", "plot")

    split: str | None = option(None, "split to measure on (default: test, or val)", metavar="NAME")
    proposals: tuple[str, ...] | None = option(
        None,
        "sources of the run, or .npz, .mat or .json files of boxes, where {split} stands for the split "
        "(default: all that the run has)",
        metavar="SOURCE|FILE",
    )
    max_boxes: int | None = option(None, "use only the N best-ranked boxes per image (default: all)", metavar="N")
    order: Order = option("yxyx", "column order of .mat files")
    plot: Path | None = option(
        None, "draw the recall curves into a .png, .svg or .pdf file", metavar="FILE", writes="file"
    )
