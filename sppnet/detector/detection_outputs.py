"""Detections of files and what is written of them: pictures, cut-out objects, one table."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.media import Source
from detection.detections import Detections
from detection.detector import SPPDetector
from detection.pictures.video import VideoReader, VideoWriter
from sppnet.errors import one_line
from sppnet.files import write_picture, write_text
from sppnet.progress import log, progress
from sppnet.settings.detector import DetectSettings

COLUMNS = ("file", "frame", "class", "score", "x0", "y0", "x1", "y1")


class DetectionOutputs:
    """Detects in files and writes what settings ask for.

    Args:
        detector: finds the objects.
        settings: threshold, classes, what is written where.
        say: called with one line per photo or video.

    Attributes:
        rows: one dictionary per photo or video, in the order of the sources.
        bad: file -> why it could not be used.
    """

    def __init__(self, detector: SPPDetector, settings: DetectSettings, say: Callable[[str], None]) -> None:
        self.detector, self.settings, self.say = detector, settings, say
        self.rows: list[dict[str, Any]] = []
        self.bad: dict[str, str] = {}

    def photos(self, sources: list[Source]) -> None:
        """Detect in every photo; those that cannot be read are noted and left out."""
        if not sources:
            return
        places = {source.path: source.place for source in sources}
        with progress(len(sources), 0, "img", "photos") as bar:

            def bad(path: Any, error: Exception) -> None:
                self._bad(path, error)
                bar.update()

            for path, found in self.detector.detect_each(places, bad):
                assert isinstance(path, Path)
                self._photo(path, places[path], self._kept(found))
                bar.update()

    def videos(self, sources: list[Source]) -> None:
        """Detect in every frame of every video."""
        for source in sources:
            try:
                self._video(source)
            except (OSError, ValueError) as error:
                self._bad(source.path, error)

    def write_table(self, path: Path) -> None:
        """Write one row per detection as CSV.

        Raises:
            OSError: it cannot be written.
        """
        buffer = io.StringIO()
        table = csv.writer(buffer, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in self.rows:
            for frame, found in enumerate(row.get("frames", [row["detections"]] if "detections" in row else [])):
                for d in found:
                    table.writerow(
                        [row["file"], frame, d["class"], f"{d['score']:.4f}", *(f"{v:.1f}" for v in d["box"])]
                    )
        write_text(path, buffer.getvalue())

    def _kept(self, found: Detections) -> Detections:
        return found.filter(self.settings.score_threshold, self.settings.classes)

    def _bad(self, path: Path, error: Exception) -> None:
        self.bad[os.fspath(path)] = one_line(error)
        log.warning("left out: %s", self.bad[os.fspath(path)])

    def _photo(self, path: Path, place: Path, found: Detections) -> None:
        self.rows.append({"file": os.fspath(path), "detections": found.records()})
        self.say(f"{path}: {_counted(Counter(found.sorted().names))}")
        save, crop, pixels = self.settings.save, self.settings.crop, found.photo
        assert isinstance(pixels, np.ndarray)
        if save:
            _save(save / place, found.draw())
        if crop:
            numbers: Counter[str] = Counter()
            for name, box in zip(found.sorted().names, found.sorted().boxes, strict=True):
                numbers[name] += 1
                target = crop / name / place.with_name(f"{place.stem}-{numbers[name]}{place.suffix}")
                _save(target, _cut(pixels, box))

    def _video(self, source: Source) -> None:
        video, save = VideoReader(source.path), self.settings.save
        frames: list[list[dict[str, Any]]] = []
        counts: Counter[str] = Counter()
        with contextlib.ExitStack() as stack:
            bar = stack.enter_context(progress(video.count, 0, "frame", video.path.name))
            path = save / source.place.with_suffix(".mp4") if save else None
            writer = stack.enter_context(VideoWriter(path, video.rate)) if path else None
            for found in map(self._kept, self.detector.detect_many(video)):
                frames.append(found.records())
                counts.update(found.names)
                if writer:
                    writer.write(found.draw())
                bar.update()
        self.rows.append({"file": os.fspath(source.path), "frames_a_second": video.rate, "frames": frames})
        self.say(f"{source.path}: {len(frames)} frames, {_counted(counts)}")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.most_common()) or "nothing"


def _cut(photo: NDArray[np.uint8], box: NDArray[Any]) -> NDArray[np.uint8]:
    """The pixels in a box (x0, y0, x1, y1), inclusive."""
    x0, y0, x1, y1 = (round(v) for v in box.tolist())
    return photo[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1]


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a picture, as PNG if the photo was one, else as JPEG."""
    suffix = ".png" if path.suffix.lower() == ".png" else ".jpg"
    write_picture(path.with_suffix(suffix), pixels, quality=92)
