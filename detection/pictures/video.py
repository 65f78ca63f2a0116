"""Reading and writing of video files. Frames are uint8 RGB (H, W, 3), unlike OpenCV's."""

from __future__ import annotations

import math
import os
import re
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.files import MARK
from detection.temporary import remove_leftovers, writer

SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
"""File name endings that are taken for videos, in lower case."""

_CONTAINERS = {
    "MP4, MOV": re.compile(rb".{4}(ftyp|moov|mdat|free|wide|skip|pnot)", re.DOTALL),
    "AVI": re.compile(rb"RIFF.{4}AVI ", re.DOTALL),
    "Matroska, WebM": re.compile(rb"\x1a\x45\xdf\xa3"),
    "MPEG program and video streams": re.compile(rb"\x00\x00\x01[\xb3\xba]"),
    "MPEG transport streams": re.compile(rb"\x47.{187}(\x47|$)", re.DOTALL),
    "Windows Media": re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
}
"""How the files of each format begin. FFmpeg goes by contents too, and plays lists that name other files."""

USUAL_RATE = 25.0  # frames per second, where a file states none
MAX_UNITS = 65_535  # of time in a second, by MPEG-4's 16 bits


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
        with open(self.path, "rb") as file:
            begin = file.read(200)
        known = any(container.match(begin) for container in _CONTAINERS.values())
        if known:
            with _name_for_opencv(self.path) as name:
                capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        if not known or not capture.isOpened():
            raise ValueError(f"{self.path}: not a video, or in a format that OpenCV cannot read; convert it to .mp4")
        self.count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate < math.inf else USUAL_RATE
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
        rate: frames per second; the file has the nearest that MPEG-4 can state, see `mpeg4_rate`.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path, self.rate = path, mpeg4_rate(rate)
        self._part = path.with_name(f".{writer()}.tmp.mp4")
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append a frame, uint8 RGB (H, W, 3), of the same size as the frames before it."""
        if self._writer is None:
            size = (frame.shape[1], frame.shape[0])
            with _name_for_opencv(self._part.parent) as folder:
                part = os.path.join(folder, self._part.name)
                writer = cv2.VideoWriter(part, cv2.VideoWriter.fourcc(*"mp4v"), self.rate, size)
            if not writer.isOpened():
                raise OSError(
                    f"{self.path}: a video of {size[0]} x {size[1]} pixels and {self.rate:g} frames per second cannot "
                    "be written there as MPEG-4"
                )
            self._writer = writer
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> VideoWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.path.parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()
        if kind is None and self._writer is not None:
            with self._part.open("ab") as file:  # a box that players pass over
                file.write(struct.pack(">I4s", 8 + len(MARK), b"free") + MARK.encode())
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)


@contextmanager
def _name_for_opencv(path: Path) -> Iterator[str]:
    """The name of a file or folder, or of a link to it if it is not UTF-8: OpenCV ends the process at such names."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder, "link")
            link.symlink_to(path.absolute())
            yield str(link)
    else:
        yield str(path)


def mpeg4_rate(rate: float) -> float:
    """Return the nearest frame rate that OpenCV writes into MPEG-4 files: a decimal of at most 65,535 units.

    Args:
        rate: frames per second, above 0.
    """
    units = next((u for u in (1000, 100, 10, 1) if round(rate * u) <= MAX_UNITS), None)
    return max(1, round(rate * units)) / units if units else float(MAX_UNITS)
