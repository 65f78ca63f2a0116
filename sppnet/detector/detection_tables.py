"""Tables of what was found in photos and frames: CSV and Parquet by detection, JSON lines by photo or frame."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

from data.names import readable
from sppnet.files import GrowingFile, GrowingTable
from sppnet.json_report import to_json
from sppnet.output_files import DETECTION_COLUMNS
from sppnet.parquet_table import ParquetTable
from sppnet.settings.commands import DetectSettings

TYPES = ("string", "int32", "string", *["float32"] * 6)  # of `DETECTION_COLUMNS` in Parquet files
Records = list[dict[str, Any]]


class DetectionTables:
    """The tables that settings ask for, a context in which rows are written as they come.

    CSV and JSON lines are complete after every call. The Parquet file appears at the end of the context; if that ends
    with an exception, with the rows until then.

    Args:
        settings: name the files.
    """

    def __init__(self, settings: DetectSettings) -> None:
        self._csv = GrowingTable(settings.csv, DETECTION_COLUMNS)
        self._lines = GrowingFile(settings.jsonl) if settings.jsonl else None
        columns = dict(zip(DETECTION_COLUMNS, TYPES, strict=True))
        self._parquet = ParquetTable(settings.parquet, columns) if settings.parquet else None

    def __enter__(self) -> DetectionTables:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the Parquet file, and tables without a row.

        Raises:
            OSError: a file cannot be written.
        """
        if kind is None:
            self._csv.append()
            if self._parquet:
                self._parquet.append()
        if self._parquet:
            self._parquet.close(finished=kind is None)

    def add(self, path: Path, records: Records, frame: int | None = None) -> None:
        """Append the detections of a photo, or of a frame of a video.

        Args:
            path: the photo or video.
            records: see `Detections.records`.
            frame: number of the frame, from 0; None: it is a photo.

        Raises:
            OSError: a file cannot be written.
        """
        name = readable(os.fspath(path))
        self._csv.append([name, frame or 0, *_cells(d)] for d in records)
        self._line({"file": name, **({} if frame is None else {"frame": frame}), "detections": records})
        if self._parquet:
            self._parquet.append(
                (name, frame or 0, d["class"], d["score"], d.get("probability"), *d["box"]) for d in records
            )

    def add_bad(self, path: Path, reason: str) -> None:
        """Note that a photo, or the rest of a video, could not be used; the tables of detections have no row for it.

        Raises:
            OSError: a file cannot be written.
        """
        self._line({"file": readable(os.fspath(path)), "error": reason})

    def _line(self, row: dict[str, Any]) -> None:
        if self._lines:
            self._lines.append(f"{to_json(row)}\n")


def _cells(detection: dict[str, Any]) -> list[str]:
    """A detection as cells of the CSV table, from the class on."""
    d = detection
    probability = f"{d['probability']:.4f}" if "probability" in d else ""
    return [d["class"], f"{d['score']:.4f}", probability, *(f"{v:.1f}" for v in d["box"])]
