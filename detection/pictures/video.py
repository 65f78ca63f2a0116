"""Films: frames in, frames out. Like detection.image, it knows that OpenCV puts blue first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})


class Film:
    """A video file to read.

    Args:
        path: the file.

    Attributes:
        count: frames it says it has; some files do not know exactly.
        rate: frames a second.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video that OpenCV reads.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file")
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise ValueError(f"{self.path}: not a video, or of a format that OpenCV cannot read")
        self.count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
        self._capture = capture

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Frames, uint8 RGB (H, W, 3), from the beginning.

        Raises:
            ValueError: there is none.
        """
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
        number = 0
        while True:
            there, frame = self._capture.read()
            if not there:
                break
            number += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
        if not number:
            raise ValueError(f"{self.path}: holds no frame that OpenCV can decode")


class FilmWriter:
    """An MPEG-4 file that is there when all frames are: a context.

    Args:
        path: of the .mp4 to write.
        rate: frames a second.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate = path, rate
        self._part = path.with_name(f".{path.stem}.part.mp4")
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append a frame, uint8 RGB (H, W, 3), all of one size."""
        if self._writer is None:
            size = (frame.shape[1], frame.shape[0])
            self._writer = cv2.VideoWriter(str(self._part), cv2.VideoWriter.fourcc(*"mp4v"), self.rate, size)
            if not self._writer.isOpened():
                raise OSError(f"{self.path}: cannot be written as a video; choose a folder that can be written to")
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> FilmWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()
        if kind is None and self._writer is not None:
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)
