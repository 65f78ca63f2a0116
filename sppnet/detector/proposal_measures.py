"""Measures of proposals, of this program or any other, against the annotations of a split."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from data.records import Dataset
from detection.evaluation.results import format_rows
from detection.files import parse_json, write_atomically
from proposals import io, recall
from proposals.batch import photos_file, time_file
from proposals.pictures import PLOTS, recall_plot
from proposals.recall import RecallResult
from sppnet.detector.photos import refuse_changed
from sppnet.detector.proposals import coco_names
from sppnet.output_files import check_name
from sppnet.progress import log
from sppnet.run import Run
from sppnet.settings.commands import EvaluateProposalsSettings
from sppnet.settings.detector import ProposalSettings

COLUMNS = ("recall .5", "recall .7", "AR", "overlap", "MABO", "boxes/img", "s/img")
LEGEND = """\
Over all objects that are not difficult: recall at an IoU; AR, average recall
over IoU 0.5 to 1; overlap, mean best overlap; MABO, its mean over the classes.
s/img: processor seconds of the search, where they were recorded"""
BY_COUNT = ("boxes_per_image", "recall", "average_recall", "mean_best_overlap")


@dataclass(frozen=True, eq=False)
class MeasuredProposals:
    """The boxes of one file and how well they cover the objects of a split.

    Attributes:
        file: holds the boxes.
        made: how the boxes were made, as far as the file says.
        seconds_per_image: processor seconds of the search; None: not recorded.
        by_count: number of boxes per image, ascending -> result; the last is that of all boxes.
    """

    file: Path
    made: dict[str, Any]
    seconds_per_image: float | None
    by_count: dict[int, RecallResult]

    @property
    def result(self) -> RecallResult:
        """The result of all boxes."""
        return list(self.by_count.values())[-1]

    def to_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """Plain values for json, with the figures of each class."""
        by_count = [
            {"max_boxes": count} | {key: value for key, value in result.to_dict().items() if key in BY_COUNT}
            for count, result in self.by_count.items()
        ]
        source = {"file": str(self.file), "meta": self.made, "seconds_per_image": self.seconds_per_image}
        return source | self.result.to_dict(classes) | {"over_boxes": by_count}


def measure_proposals(run: Run, settings: EvaluateProposalsSettings) -> tuple[Dataset, dict[str, MeasuredProposals]]:
    """Measure files of proposals against the annotations of the run's test split.

    Args:
        run: names the data set, and holds the proposals that settings name by their source.
        settings: sources or files, boxes per image, column order of .mat files.

    Returns:
        the images, and a name for each file -> its measures.

    Raises:
        FileNotFoundError: there is no such file, or the run has no proposals of the split.
        ValueError: a file is damaged or lacks an image of the split, or a photo was replaced since.
    """
    files = proposal_files(run, settings.proposals)
    dataset = run.dataset(run.test_split)
    return dataset, {name: _measured(path, dataset, settings) for name, path in files.items()}


def proposal_files(run: Run, proposals: Sequence[str] | None) -> dict[str, Path]:
    """Files of proposals of the run's test split.

    Args:
        run: may hold proposals.
        proposals: sources of the run, or files, where {split} stands for the split; None: all that the run has.

    Returns:
        a short name for each file, with its folder where two files have the same -> the file.

    Raises:
        FileNotFoundError: there is no such file, or the run has none.
    """
    split = run.test_split
    if proposals is None:
        proposals = sorted(path.parent.name for path in run.folder.glob(f"proposals/*/{escape(split)}.npz"))
    if not proposals:
        raise FileNotFoundError(
            f"{run.folder}: no proposals of {split}; run `sppnet stage extract-proposals`, or name files with "
            "--proposals"
        )
    given = [Path(source.replace("{split}", split)) for source in proposals]
    stems = [path.stem for path in given]
    files: dict[str, Path] = {}
    for source, path in zip(proposals, given, strict=True):
        name = path.stem if stems.count(path.stem) == 1 else "/".join([*path.parts[-2:-1], path.stem])
        in_run = not path.suffix and not path.is_file()
        file = run.proposals(split, ProposalSettings(proposals=source)) if in_run else path
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file of proposals; check --proposals, --split and --run")
        files[str(path) if name in files else name] = file
    return files


def tables(measured: Mapping[str, MeasuredProposals], classes: Sequence[str]) -> Iterator[str]:
    """Lines of two tables: one row per file, with a legend; then one row per class, with a column per file."""
    yield from format_rows([["proposals", *COLUMNS], *(_file_row(name, m) for name, m in measured.items())])
    yield from ("", LEGEND, "")
    objects = next(iter(measured.values())).result.objects.tolist()
    overlaps = [m.result.class_best_overlap for m in measured.values()]
    rows = [["best overlap", "objects", *measured]]
    for k, (name, count) in enumerate(zip(classes, objects, strict=True)):
        if count:
            rows.append([name, str(count), *(_share(of_file[k]) for of_file in overlaps)])
    yield from format_rows(rows)


def plot_format(path: Path) -> str:
    """The format that a plot's name stands for: "png", "svg" or "pdf".

    Raises:
        ValueError: it stands for another format, or none.
    """
    kind = path.suffix.lower()[1:]
    if kind not in PLOTS:
        raise ValueError(f"{path}: --plot: expected a name that ends in {', '.join(f'.{k}' for k in PLOTS)}")
    return kind


def write_plot(path: Path, measured: Mapping[str, MeasuredProposals]) -> None:
    """Draw recall over IoU, and average recall over the number of boxes, with one line per file.

    Raises:
        ValueError: the name ends in another suffix than .png, .svg or .pdf.
        FileExistsError: there is a file that is not from sppnet.
        OSError: the plot cannot be written.
    """
    check_name(path)
    plot = recall_plot({name: list(m.by_count.values()) for name, m in measured.items()}, plot_format(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [plot])


def _measured(path: Path, dataset: Dataset, settings: EvaluateProposalsSettings) -> MeasuredProposals:
    refuse_changed(photos_file(path), dataset, "proposals")
    log.info("reading %s", path)
    boxes, made = io.load(path, settings.order, coco_names(dataset))
    try:
        counts = recall.box_counts(boxes, dataset, settings.max_boxes)
        results = recall.evaluate_counts(boxes, dataset, counts)
    except ValueError as error:  # boxes lack an image
        raise ValueError(f"{path}: {error}") from error
    return MeasuredProposals(path, made, _seconds(path), dict(zip(counts, results, strict=True)))


def _seconds(path: Path) -> float | None:
    """Processor seconds of the search per image, where `sppnet stage extract-proposals` recorded them."""
    try:
        return float(parse_json(time_file(path).read_text())["seconds_per_image"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _file_row(name: str, measured: MeasuredProposals) -> list[str]:
    r, seconds = measured.result, measured.seconds_per_image
    shares = (*r.recall.values(), r.average_recall, r.mean_best_overlap, r.class_mean_best_overlap)
    return [name, *map(_share, shares), f"{r.boxes_per_image:,.0f}", "-" if seconds is None else f"{seconds:.2f}"]


def _share(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"
