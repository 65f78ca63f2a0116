"""Where detections go: lines on the terminal, pictures, cut-out objects, one table."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.media import Source
from detection import SPPDetector
from detection.detections import Detections
from detection.files import write_atomically
from detection.image import read
from detection.pictures.video import VideoReader, VideoWriter
from sppnet.progress import log, progress
from tools.common import Options, one_line, write_text

COLUMNS = ("file", "frame", "class", "score", "x0", "y0", "x1", "y1")


class Outputs:
    """Detects and writes what was asked for; results, as rows of plain values, in the order of the sources.

    Args:
        options: flags of the tool.
        detector: to use.

    Attributes:
        rows: one dictionary per photo or video.
        bad: file -> why it could not be used.
    """

    def __init__(self, options: Options, detector: SPPDetector) -> None:
        self.options, self.detector = options, detector
        self.rows: list[dict[str, Any]] = []
        self.bad: dict[str, str] = {}

    def photos(self, sources: list[Source]) -> None:
        """Detect in every photo; what cannot be read is noted and left out."""
        if not sources:
            return
        places = {source.path: source.place for source in sources}
        with progress(len(sources), 0, "img", "photos") as bar:

            def bad(path: Any, error: Exception) -> None:
                self._bad(path, error)
                bar.update()

            for found in self.detector.detect_many(places, bad):
                assert isinstance(found.photo, Path)
                try:
                    self._photo(found.photo, places[found.photo], self._kept(found))
                except ValueError as error:  # of a photo that changed since it was read
                    self._bad(found.photo, error)
                bar.update()

    def videos(self, sources: list[Source]) -> None:
        """Detect in every frame of every video."""
        for source in sources:
            try:
                self._video(source)
            except (OSError, ValueError) as error:
                self._bad(source.path, error)

    def write_table(self) -> None:
        """The csv file, if one was asked for."""
        if not self.options.csv:
            return
        buffer = io.StringIO()
        table = csv.writer(buffer, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in self.rows:
            for frame, found in enumerate(row.get("frames", [row["detections"]] if "detections" in row else [])):
                for d in found:
                    table.writerow(
                        [row["file"], frame, d["class"], f"{d['score']:.4f}", *(f"{v:.1f}" for v in d["box"])]
                    )
        write_text(self.options.csv, buffer.getvalue())

    def _kept(self, found: Detections) -> Detections:
        return found.filter(self.options.score_threshold, self.options.classes)

    def _bad(self, path: Path, error: Exception) -> None:
        self.bad[os.fspath(path)] = one_line(error)
        log.warning("left out: %s", self.bad[os.fspath(path)])

    def _photo(self, path: Path, place: Path, found: Detections) -> None:
        self.rows.append({"file": os.fspath(path), "detections": found.records()})
        print(f"{path}: {_counted(Counter(found.sorted().names))}")
        if not (self.options.save or self.options.crop):
            return
        photo = read(path)
        if self.options.save:
            _save(self.options.save / place, found.draw(image=photo))
        if self.options.crop:
            numbers: Counter[str] = Counter()
            for name, box in zip(found.sorted().names, found.sorted().boxes, strict=True):
                numbers[name] += 1
                target = self.options.crop / name / place.with_name(f"{place.stem}-{numbers[name]}{place.suffix}")
                _save(target, _cut(photo, box))

    def _video(self, source: Source) -> None:
        video = VideoReader(source.path)
        frames: list[list[dict[str, Any]]] = []
        counts: Counter[str] = Counter()
        with contextlib.ExitStack() as stack:
            bar = stack.enter_context(progress(video.count, 0, "frame", video.path.name))
            path = self.options.save / source.place.with_suffix(".mp4") if self.options.save else None
            writer = stack.enter_context(VideoWriter(path, video.rate)) if path else None
            for found in map(self._kept, self.detector.detect_many(video)):
                frames.append(found.records())
                counts.update(found.names)
                if writer:
                    writer.write(found.draw())
                bar.update()
        self.rows.append({"file": os.fspath(source.path), "frames_a_second": video.rate, "frames": frames})
        print(f"{source.path}: {len(frames)} frames, {_counted(counts)}")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.most_common()) or "nothing"


def _cut(photo: NDArray[np.uint8], box: NDArray[Any]) -> NDArray[np.uint8]:
    """The pixels in a box (x0, y0, x1, y1), inclusive."""
    x0, y0, x1, y1 = (round(v) for v in box.tolist())
    return photo[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1]


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    """As png where the photo was one, else as jpg."""
    kind, suffix = ("png", ".png") if path.suffix.lower() == ".png" else ("jpeg", ".jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=92)
    write_atomically(path.with_suffix(suffix), [buffer.getvalue()])
