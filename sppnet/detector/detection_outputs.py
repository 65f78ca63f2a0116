"""Detections of files and what is written of them: pictures, cut-out objects, labels, tables, one report."""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.media import Source
from data.names import readable
from detection.detections import Detections
from detection.detector import SPPDetector
from detection.engines.engine import Engine, WorkerLost
from detection.image import pixels_of
from detection.pictures.video import VideoReader, VideoWriter
from sppnet.detector.detection_export import DetectionExport
from sppnet.detector.detection_tables import DetectionTables
from sppnet.detector.output_paths import crop_path, is_video, picture_path
from sppnet.detector.photo_detection import detect_files
from sppnet.errors import one_line
from sppnet.files import write_picture
from sppnet.json_report import ITEMS, CommandReport
from sppnet.output_files import check_name
from sppnet.progress import log, progress
from sppnet.settings.commands import DetectSettings

QUALITY = 92  # of JPEG files


class DetectionOutputs:
    """Detects in files and writes what settings ask for; rows of tables and report are written as they come.

    Args:
        detector: finds the objects.
        settings: threshold, classes, what is written where.
        report: the json report.
        say: called with one line per photo or video.
        engine: detects in photos; None: this process does. Videos are always left to this process.

    Attributes:
        bad: file -> why it could not be used.
    """

    def __init__(
        self,
        detector: SPPDetector,
        settings: DetectSettings,
        report: CommandReport,
        say: Callable[[str], None],
        engine: Engine | None = None,
    ) -> None:
        self.detector, self.settings, self.say, self.engine = detector, settings, say, engine
        self.bad: dict[str, str] = {}
        self._tables = DetectionTables(settings)
        self._report = report
        self._export = DetectionExport(settings, detector.classes)
        report.begin({"classes": list(detector.classes), "images": [ITEMS], "unreadable": self.bad})

    def detect(self, sources: Sequence[Source]) -> None:
        """Detect in every photo, then in every video; those that cannot be read are noted and left out.

        Raises:
            OSError: a result cannot be written.
        """
        with self._tables:
            self._photos([source for source in sources if not is_video(source.path)])
            for source in sources:
                if is_video(source.path):
                    self._video(source)
        if done := self._export.write():
            self.say(f"{readable(str(self.settings.export_to))}: {done.linked} photos linked, {done.copied} copied")

    def _photos(self, sources: Sequence[Source]) -> None:
        if not sources:
            return
        by_path = {source.path: source for source in sources}
        with progress(len(sources), 0, "img", "photos") as bar:

            def bad(path: Any, error: Exception) -> None:
                self._bad(path, error)
                bar.update()

            for path, found in self._detected_photos(by_path, bad):
                self._photo(by_path[path], self._kept(found))
                bar.update()

    def _detected_photos(
        self, paths: Iterable[Path], bad: Callable[[Path, Exception], None]
    ) -> Iterator[tuple[Path, Detections]]:
        """The photos that can be used, with their detections; these hold the pixels if they are written."""
        if self.engine is None:
            for path, found in self.detector.detect_each(paths, bad):  # type: ignore[arg-type]
                assert isinstance(path, Path)
                yield path, found
            return
        for path, outcome in detect_files(self.settings, paths, self.engine):
            try:
                found = outcome.result()
                if self.settings.save or self.settings.crop or self.settings.export:
                    found = replace(found, photo=pixels_of(path))
            except (OSError, ValueError, WorkerLost) as error:
                bad(path, error)
            else:
                yield path, found

    def _photo(self, source: Source, found: Detections) -> None:
        records = found.records()
        self._pictures(source.place, found)
        self._tables.add(source.path, records)
        self._report.add({"file": os.fspath(source.path), "detections": records})
        self.say(f"{readable(str(source.path))}: {_counted(Counter(found.sorted().names))}")
        self._export.add(source, found)

    def _pictures(self, place: Path, found: Detections) -> None:
        """Write the photo with its boxes, and its objects."""
        save, crop, pixels = self.settings.save, self.settings.crop, found.photo
        if not (save or crop):
            return
        assert isinstance(pixels, np.ndarray)
        if save:
            write_picture(picture_path(save, place), found.draw(-math.inf), quality=QUALITY)
        if crop:
            numbers: Counter[str] = Counter()
            for name, box in zip(found.sorted().names, found.sorted().boxes, strict=True):
                numbers[name] += 1
                write_picture(crop_path(crop, name, place, numbers[name]), _cut(pixels, box), quality=QUALITY)

    def _video(self, source: Source) -> None:
        try:
            video = VideoReader(source.path)
        except (OSError, ValueError) as error:
            self._bad(source.path, error)
            return
        number = 0  # of finished frames
        row = {"file": os.fspath(source.path), "frames_a_second": video.rate, "frames": [ITEMS]}
        counts: Counter[str] = Counter()
        with contextlib.ExitStack() as stack:
            bar = stack.enter_context(progress(video.count, 0, "frame", readable(video.path.name)))
            draw = stack.enter_context(self._film(source, video.rate))
            for found in self._detected(video):
                if not number:
                    stack.enter_context(self._report.within(row))
                records = found.records()
                self._tables.add(source.path, records, number)
                self._report.add(records)
                number += 1
                draw(found)
                counts.update(found.names)
                bar.update()
        if number:
            self.say(f"{readable(str(source.path))}: {number} frames, {_counted(counts)}")

    def _detected(self, video: VideoReader) -> Iterator[Detections]:
        """Detections of each frame, until the video ends or cannot be read further."""
        try:
            yield from map(self._kept, self.detector.detect_many(video))
        except (OSError, ValueError) as error:
            self._bad(video.path, error)

    @contextlib.contextmanager
    def _film(self, source: Source, rate: float) -> Iterator[Callable[[Detections], None]]:
        """A function that draws each frame, if that is asked for; a film that cannot be written is noted."""
        if not self.settings.save:
            yield lambda found: None
            return
        path = picture_path(self.settings.save, source.place)
        check_name(path)
        failed = False

        def draw(found: Detections) -> None:
            nonlocal failed
            try:
                if not failed:
                    writer.write(found.draw(-math.inf))
            except OSError as error:
                failed = True
                self._bad(source.path, error)

        with VideoWriter(path, rate) as writer:
            yield draw

    def _kept(self, found: Detections) -> Detections:
        s = self.settings
        kept = found.shown(s.threshold) if s.score_threshold is None else found.filter(s.score_threshold)
        return kept.filter(labels=s.classes)

    def _bad(self, path: Path, error: Exception) -> None:
        self.bad[os.fspath(path)] = one_line(error)
        log.warning("left out: %s", self.bad[os.fspath(path)])
        self._tables.add_bad(path, self.bad[os.fspath(path)])


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.most_common()) or "nothing"


def _cut(photo: NDArray[np.uint8], box: NDArray[Any]) -> NDArray[np.uint8]:
    """The pixels in a box (x0, y0, x1, y1), inclusive."""
    x0, y0, x1, y1 = (round(v) for v in box.tolist())
    return photo[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1]
