"""Evaluation results as files and text: VOC comp4 files, COCO JSON, tables and summaries."""

from __future__ import annotations

import codecs
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detection.detection_table import DetectionTable
from detection.detections import Detections
from detection.evaluation.coco import to_coco_json
from detection.evaluation.voc import EvaluationResult
from detection.files import file_name, write_atomically

if TYPE_CHECKING:
    from data.records import FileId

_FIELDS = "image id, score, left, top, right, bottom"


def write_comp4(
    folder: str | os.PathLike[str],
    detections: Mapping[str, Detections],
    classes: Sequence[str],
    split: str,
    prefix: str = "comp4",
) -> list[Path]:
    """Write one file per class in the format of the VOC devkit and evaluation server.

    `<prefix>_det_<split>_<class>.txt` has one line "id score left top right bottom" per detection, in 1-based inclusive
    pixels and with enough digits for `read_comp4` to restore float32 values exactly. Classes without detections get an
    empty file. Class names that would lead to another folder are quoted, see `detection.files.file_name`.

    Args:
        folder: the output folder; it is created if missing.
        detections: image id -> detections.
        classes: the K class names in label order.
        split: the split's name in the file names.
        prefix: the first part of the file names.

    Returns:
        The K paths in label order.

    Raises:
        ValueError: a label has no class, an image id is empty or has white space, or the split cannot be part of a file
            name.
        OSError: the folder or a file cannot be written.

    Source: VOCdevkit/VOCcode/VOCinit.m (VOCopts.detrespath), VOCevaldet.m.
    """
    table = DetectionTable.of(detections)
    rows = table.rows
    if len(rows) and not 0 <= rows.labels.min() <= rows.labels.max() < len(classes):
        raise ValueError(
            f"detections: labels {rows.labels.min()}..{rows.labels.max()} do not fit {len(classes)} classes"
        )
    for image_id in table.ids:
        if not image_id or image_id.split() != [image_id]:
            raise ValueError(f"image id {image_id!r}: comp4 files cannot store empty ids or white space; rename it")
    paths = [_comp4_path(folder, name, split, prefix) for name in classes]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for k, path in enumerate(paths):
        mine = np.flatnonzero(rows.labels == k)
        write_atomically(path, [_comp4_text(table, mine).encode()])
    return paths


def read_comp4(
    folder: str | os.PathLike[str], classes: Sequence[str], split: str, prefix: str = "comp4"
) -> DetectionTable:
    """Read comp4 files, written by any program.

    Args:
        folder: the folder with the files.
        classes: the K class names in label order.
        split: the split's name in the file names.
        prefix: the first part of the file names.

    Returns:
        Image id -> detections of the images that occur. Boxes (0-based inclusive image pixels) and scores are
        float64, and the rows keep the order of the lines.

    Raises:
        FileNotFoundError: a class has no file.
        ValueError: a line is not "id score left top right bottom".
    """
    ids: list[str] = []
    values: list[NDArray[np.float64]] = []
    counts: list[int] = []
    for name in classes:
        path = _comp4_path(folder, name, split, prefix)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: missing file of class {name!r}; create an empty file if it has no detections"
            )
        class_ids, class_values = _parse_comp4(path)
        ids.extend(class_ids)
        values.append(class_values)
        counts.append(len(class_ids))
    columns = np.concatenate([np.zeros((0, 5)), *values])  # score, left, top, right, bottom
    place = {image_id: i for i, image_id in enumerate(dict.fromkeys(ids))}
    image = np.fromiter((place[i] for i in ids), np.int64, len(ids))
    labels = np.repeat(np.arange(len(counts)), counts)
    return DetectionTable(tuple(place), image, Detections(columns[:, 1:] - 1, columns[:, 0], labels))


def _comp4_path(folder: str | os.PathLike[str], name: str, split: str, prefix: str) -> Path:
    file = f"{prefix}_det_{split}_{file_name(name)}.txt"
    if Path(file).name != file or "\0" in file:
        raise ValueError(f"split {split!r}: not usable in a file name; rename it")
    return Path(folder) / file


def _comp4_text(table: DetectionTable, rows: NDArray[np.int64]) -> str:
    boxes = table.rows.boxes[rows].astype(np.float64) + 1  # 1-based
    # 9 digits distinguish any two float32 values, 17 any two float64 values
    digits = 9 if table.rows.scores.dtype == np.float32 else 17
    columns = (table.image[rows].tolist(), table.rows.scores[rows].tolist(), *boxes.T.tolist())
    return "".join(
        f"{table.ids[i]} {score:.{digits}g} {left:.17g} {top:.17g} {right:.17g} {bottom:.17g}\n"
        for i, score, left, top, right, bottom in zip(*columns, strict=True)
    )


def _parse_comp4(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Read the image ids and float64 (N, 5) score, left, top, right, bottom of one file."""
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as PowerShell writes
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error}); expected lines with {_FIELDS}") from error
    if not text.strip():
        return [], np.zeros((0, 5))
    try:
        table = np.loadtxt(io.StringIO(text), [("id", object), ("values", np.float64, 5)], comments=None, ndmin=1)
    except ValueError:
        raise _malformed(path, text) from None
    if not np.isfinite(table["values"]).all():
        raise _malformed(path, text)
    return table["id"].tolist(), table["values"]


def _malformed(path: Path, text: str) -> ValueError:
    """Return the error that names the first malformed line."""
    at, line = next((n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip() and not _is_comp4(line))
    return ValueError(f"{path}, line {at}: expected 6 fields, {_FIELDS}; got {line.strip()[:80]!r}")


def _is_comp4(line: str) -> bool:
    _, *numbers = line.split()
    try:
        return len(numbers) == 5 and all(np.isfinite(float(v)) and v.isascii() and "_" not in v for v in numbers)
    except ValueError:
        return False


def write_coco_json(
    path: str | os.PathLike[str],
    detections: Mapping[str, Detections],
    image_ids: Mapping[str, FileId] | None = None,
    category_ids: Sequence[FileId | None] | None = None,
) -> None:
    """Write detections as a COCO results file; for the arguments see `coco.to_coco_json`.

    Raises:
        ValueError: an image or label has no COCO id, or a score is infinite.
        OSError: the file cannot be written.
    """
    results = to_coco_json(detections, image_ids, category_ids)
    write_atomically(Path(path), [json.dumps(results, allow_nan=False).encode()])


def format_table(classes: Sequence[str], columns: Mapping[str, EvaluationResult]) -> str:
    """Format average precisions in percent: one line per class and one for the mean, one column per result.

    A class without objects shows n/a and is left out of the mean.

    Args:
        classes: the K class names in label order.
        columns: column title -> result.

    Raises:
        ValueError: a result has another number of classes.
    """
    for title, result in columns.items():
        if len(result.ap) != len(classes):
            raise ValueError(f"{title}: expected results of {len(classes)} classes, got {len(result.ap)}")
    rows = [["class", *columns]]
    rows += [[name, *(_percent(r.ap[k]) for r in columns.values())] for k, name in enumerate(classes)]
    rows += [["mean", *(_percent(r.mean_ap) for r in columns.values())]]
    lines = format_rows(rows)
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def format_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the columns of a table: the first to the left, the others to the right.

    Args:
        rows: text of each cell; every row has the same number of cells.

    Returns:
        one line per row.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def _percent(value: float) -> str:
    return "n/a" if np.isnan(value) else f"{100 * value:.1f}"


def write_curves(path: Path, result: EvaluationResult) -> None:
    """Write the curves of each class to an .npz file: float32 "<class>/precision", "<class>/recall", "<class>/score".

    Raises:
        OSError: the file cannot be written.
    """
    columns = {"precision": result.precision, "recall": result.recall, "score": result.scores}
    arrays = {
        f"{name}/{column}": values.astype(np.float32)
        for column, curves in columns.items()
        for name, values in zip(result.classes, curves, strict=True)
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(path, [buffer.getvalue()])


def summary(result: EvaluationResult, curves: bool = False) -> dict[str, Any]:
    """Convert a result to values that JSON can store; nan becomes None.

    Args:
        result: the result of `voc.evaluate`.
        curves: whether to include the precision, recall and score curves of each class.
    """
    data: dict[str, Any] = {
        "metric": result.metric,
        "iou_threshold": result.iou_threshold,
        "mean_ap": _or_none(result.mean_ap),
        "ap": {name: _or_none(ap) for name, ap in zip(result.classes, result.ap, strict=True)},
        "n_objects": dict(zip(result.classes, result.n_objects.tolist(), strict=True)),
    }
    if curves:
        columns = zip(result.classes, result.precision, result.recall, result.scores, strict=True)
        data["curves"] = {
            name: {
                "precision": p.tolist(),
                "recall": [_or_none(v) for v in r.tolist()],
                "score": s.tolist(),
            }
            for name, p, r, s in columns
        }
    return data


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
