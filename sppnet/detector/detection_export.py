"""Detections as labels of their photos, for labelling tools and other programs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from data import writers
from data.files import ids_of, image_size
from data.media import Source
from data.records import Dataset, PredictedRecord
from data.writers.photos import Photos, file_names
from detection.detections import Detections
from sppnet.detector.output_paths import is_video
from sppnet.output_files import check_new_folder, remove_leftovers_beside
from sppnet.settings.commands import DatasetFormat, DetectSettings

SPLIT = "all"  # that of data without splits
PathLike = str | os.PathLike[str]


def export_detections(
    found: Iterable[Detections],
    to: PathLike,
    format: DatasetFormat,
    *,
    threshold: float | None = None,
    copy: bool = False,
    model: str = "sppnet",
) -> Photos:
    """Write photos with their detections as labels into a new folder, which appears whole or not at all.

    Photos are hard links to the originals, which take no space, or copies where the file system has no such links. The
    files of Label Studio hold predictions with probabilities; all other formats hold labels.

    Args:
        found: detections of photos that are files, as `SPPDetector.detect_many` yields them; those that `shown()`
            selects are written.
        to: folder to write; it must be absent or empty.
        format: "voc", "coco", "yolo", "csv", "cvat" or "label-studio".
        threshold: the lowest probability; None: that of each class, see `Detections.shown`.
        copy: copy all photos, so that they can be changed without the originals.
        model: name of the detector, for Label Studio.

    Returns:
        how many photos were linked and copied.

    Raises:
        FileExistsError: the folder holds something.
        ValueError: there are no detections, their photos are no files, their classes are unknown or differ, or the
            format cannot hold the name of a class or photo.
        OSError: a photo cannot be read, or the folder cannot be written.

    Examples:
        >>> found = detector.detect_many(paths)  # doctest: +SKIP
        >>> sppnet.export_detections(found, "to_correct", "cvat")  # doctest: +SKIP
    """
    writers.check_absent(Path(to))
    shown = [one.shown(threshold) for one in found]
    classes = shown[0].classes if shown else ()
    if not classes or any(one.classes != classes for one in shown):
        raise ValueError("found: expected detections of one detector, with the names of its classes")
    photos = {one.photo: one for one in shown if isinstance(one.photo, Path)}
    if len(photos) < len(shown):
        raise ValueError("found: expected detections of different files, as detect_many yields them for paths")
    records = [_record(i, path, photos[path], image_size(path), model) for i, path in ids_of(photos).items()]
    return _write(Path(to), format, records, classes, copy)


class DetectionExport:
    """Keeps the detections of photos, and writes them as labels in the end, if settings ask for it.

    Args:
        settings: format, folder and model.
        classes: those of the model.
    """

    def __init__(self, settings: DetectSettings, classes: tuple[str, ...]) -> None:
        self._settings, self._classes = settings, classes
        folder = Path(settings.model)
        self._model = "/".join(folder.resolve().parts[-2:]) if folder.is_dir() else settings.model
        self._records: list[PredictedRecord] = []

    def add(self, source: Source, found: Detections) -> None:
        """Keep the detections of a photo, which hold its pixels."""
        if self._settings.export:
            assert isinstance(found.photo, np.ndarray)
            size = found.photo.shape[0], found.photo.shape[1]
            self._records.append(_record(_id(source), source.path, found, size, self._model))

    def write(self) -> Photos | None:
        """Write the photos that could be read, and return how; None: there is nothing to write.

        Raises:
            OSError, ValueError: see `export_detections`.
        """
        s = self._settings
        if not s.export or not s.export_to or not self._records:
            return None
        return _write(s.export_to, s.export, self._records, self._classes)


def _write(
    to: Path, format: DatasetFormat, records: Sequence[PredictedRecord], classes: tuple[str, ...], copy: bool = False
) -> Photos:
    remove_leftovers_beside(to)
    return writers.write(to, {SPLIT: Dataset(f"detections for {to}", classes, tuple(records))}, format, copy)


def _record(image_id: str, path: Path, found: Detections, size: tuple[int, int], model: str) -> PredictedRecord:
    """Detections as the labels of a photo of (H, W) pixels, best first."""
    best = found.sorted()
    boxes, difficult = best.boxes.astype(np.float32), np.zeros(len(best), np.bool_)
    return PredictedRecord(image_id, path, size, boxes, best.labels, difficult, None, model, best.probabilities)


def _id(source: Source) -> str:
    """The place of the results of a photo, which no other photo has."""
    return "-".join(source.place.with_suffix("").parts)


def check_export(settings: DetectSettings, sources: Sequence[Source], json: Path | None) -> None:
    """Check before the work that photos can be exported, and into a folder of their own.

    Args:
        settings: name the folder and all other outputs.
        sources: photos and videos.
        json: the json report.

    Raises:
        FileExistsError: the folder holds something.
        ValueError: there is a video, the folder lies among the photos or takes another output, or two photos would
            have the same name.
    """
    s = settings
    if s.export_to is None:
        return
    if video := next((source.path for source in sources if is_video(source.path)), None):
        raise ValueError(f"--export: {video} is a video, and labels are for photos; leave it out")
    check_new_folder(s.export_to, s.sources, [s.save, s.crop, *s.tables, json])
    file_names({SPLIT: [_record(_id(source), source.path, Detections.empty(), (0, 0), "") for source in sources]})
