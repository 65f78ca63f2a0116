"""Reading and writing of video files. Frames are uint8 RGB (H, W, 3), unlike OpenCV's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
"""File name endings that are taken for videos, in lower case."""


class VideoReader:
    """Frames of a video file, from the beginning on every iteration.

    Args:
        path: the video file.

    Attributes:
        count: number of frames by the file's header; it may be inexact.
        rate: frames per second.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: OpenCV cannot read the file as a video.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file")
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise ValueError(f"{self.path}: not a video, or in a format that OpenCV cannot read; convert it to .mp4")
        self.count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
        self._capture = capture

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames as uint8 RGB (H, W, 3).

        Raises:
            ValueError: no frame can be decoded.
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
            raise ValueError(f"{self.path}: OpenCV cannot decode any frame; convert it to .mp4")


class VideoWriter:
    """Context manager that writes an MPEG-4 file; the file appears when the context ends without an error.

    Args:
        path: the .mp4 file to write.
        rate: frames per second.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate = path, rate
        self._part = path.with_name(f".{path.stem}.part.mp4")
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append a frame, uint8 RGB (H, W, 3), of the same size as the frames before it."""
        if self._writer is None:
            size = (frame.shape[1], frame.shape[0])
            self._writer = cv2.VideoWriter(str(self._part), cv2.VideoWriter.fourcc(*"mp4v"), self.rate, size)
            if not self._writer.isOpened():
                raise OSError(f"{self.path}: the video cannot be written; choose a folder with write permission")
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> VideoWriter:
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
