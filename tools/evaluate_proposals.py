"""Measure proposals, of this program or any other, against the annotations of a split."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from sppnet import progress
from tools import common

if TYPE_CHECKING:
    from proposals.recall import RecallResult

COLUMNS = ("recall .5", "recall .7", "AR", "overlap", "MABO", "boxes/img", "s/img")
LEGEND = (
    "of all objects that are not difficult: recall at an IoU; AR, average recall over IoU 0.5 to 1; overlap, mean\n"
    "best overlap; MABO, its mean over the classes. s/img: processor seconds of the search, where they were noted"
)
OVER_BOXES = ("boxes_per_image", "recall", "average_recall", "mean_best_overlap")


def run(options: common.Options) -> dict[str, Any]:
    """One row a file, then the best overlap of each class; curves for json and --plot."""
    from proposals import io, recall

    _check_plot(options.plot)
    run = common.Run.of(options)
    files = _files(run, options)
    dataset = run.dataset(options.test_split)
    measured: dict[str, list[RecallResult]] = {}
    report: dict[str, dict[str, Any]] = {}
    for name, path in files.items():
        progress.log.info("reading %s", path)
        boxes, meta = io.load(path, options.order)
        try:
            counts = recall.box_counts(boxes, dataset, options.max_boxes)
            measured[name] = recall.evaluate_counts(boxes, dataset, counts)
        except ValueError as error:  # boxes lack an image
            raise ValueError(f"{path}: {error}") from error
        made = {"file": str(path), "meta": meta, "seconds_per_image": _seconds(path)}
        over_boxes = [
            {"max_boxes": n, **{key: r.to_dict()[key] for key in OVER_BOXES}}
            for n, r in zip(counts, measured[name], strict=True)
        ]
        report[name] = made | measured[name][-1].to_dict(dataset.classes) | {"over_boxes": over_boxes}
    print(f"{dataset.name}, {len(dataset)} images\n")
    print("\n".join([*_rows(report), "", LEGEND, "", *_class_rows(report)]))
    if options.plot:
        _write_plot(options.plot, measured)
    return report


def _files(run: common.Run, options: common.Options) -> dict[str, Path]:
    """Name -> file of all that --proposals lists, or of all that the run has of the split.

    Raises:
        FileNotFoundError: there is no such file, or the run has none.
    """
    split, told = options.test_split, options.sources
    if told is None:
        told = sorted(p.parent.name for p in run.folder.glob(f"proposals/*/{split}.npz"))
    if not told:
        raise FileNotFoundError(f"{run.folder}: no proposals of {split}; extract them, or give files with --proposals")
    given = [Path(source.replace("{split}", split)) for source in told]
    stems = [path.stem for path in given]
    files: dict[str, Path] = {}
    for source, path in zip(told, given, strict=True):
        name = path.stem if stems.count(path.stem) == 1 else "/".join([*path.parts[-2:-1], path.stem])
        file = path if path.suffix or path.is_file() else run.proposals(split, source)
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file of proposals; check --proposals, --split and --run")
        files[str(path) if name in files else name] = file
    return files


def _seconds(path: Path) -> float | None:
    """How long the search took, where `extract_proposals` noted it."""
    from proposals.batch import time_file

    try:
        return float(json.loads(time_file(path).read_text())["seconds_per_image"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _rows(report: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The table, one line a file."""
    table = [["proposals", *COLUMNS]]
    for name, r in report.items():
        shares = [*r["recall"].values(), *(r[key] for key in ("average_recall", "mean_best_overlap"))]
        seconds = r["seconds_per_image"]
        figures = [*map(_share, [*shares, r["class_mean_best_overlap"]]), f"{r['boxes_per_image']:,.0f}"]
        table.append([name, *figures, "-" if seconds is None else f"{seconds:.2f}"])
    return _aligned(table)


def _class_rows(report: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Average best overlaps, one line a class that has objects, one column a file."""
    table = [["best overlap", "objects", *report]]
    for name, first in next(iter(report.values()))["classes"].items():
        if first["objects"]:
            overlaps = (_share(r["classes"][name]["best_overlap"]) for r in report.values())
            table.append([name, str(first["objects"]), *overlaps])
    return _aligned(table)


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """First column to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *rest in table:
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()


def _check_plot(path: Path | None) -> None:
    """Before the work rather than after it: can the plot be drawn?"""
    from proposals.pictures import PLOTS

    if path is not None and path.suffix.lower()[1:] not in PLOTS:
        raise ValueError(f"{path}: --plot: expected a name that ends in {', '.join(f'.{kind}' for kind in PLOTS)}")


def _write_plot(path: Path, measured: Mapping[str, Sequence[RecallResult]]) -> None:
    from detection.files import write_atomically
    from proposals.pictures import recall_plot

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [recall_plot(measured, path.suffix.lower()[1:])])
    progress.log.info("curves: %s", path)


def flags(p: argparse.ArgumentParser) -> None:
    """Which files, against what."""
    common.dataset_flags(p)
    p.add_argument("--split", dest="test_split", metavar="NAME", help="list of images (test, or val)")
    p.add_argument(
        "--proposals",
        nargs="+",
        dest="sources",
        metavar="SOURCE|FILE",
        help="files of boxes as .npz, .mat or .json, {split} in a name standing for the split; or what the run has, "
        "as ss or edgeboxes (all that the run has of the split)",
    )
    p.add_argument("--max-boxes", type=int, metavar="N", help="of an image, the best-ranked (all)")
    p.add_argument("--order", choices=("yxyx", "xyxy"), default="yxyx", help="columns of .mat files (%(default)s)")
    p.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves: a .png, .svg or .pdf")
    p.set_defaults(train_split=None, proposals=None)


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    return common.main(run, common.parser(__doc__, flags), argv)


if __name__ == "__main__":
    sys.exit(main())
