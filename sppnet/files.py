"""Text and picture files that are either whole or absent, and files that grow."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.names import readable
from detection.files import MARK, write_atomically
from sppnet.output_files import check_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PICTURES = ("PNG", "JPEG", "WEBP")  # Pillow's names
_SOFTWARE = 0x0131  # EXIF tag


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step; its folder is made if absent. See `readable` for names that are not UTF-8.

    Raises:
        FileExistsError: there is a file that is not from sppnet.
        OSError: it cannot be written.
    """
    check_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [readable(text).encode()])


def picture_format(path: Path) -> str:
    """The format that a picture's name stands for: "PNG", "JPEG" or "WEBP".

    Raises:
        ValueError: it stands for another format, or none.
    """
    from PIL import Image

    found = Image.registered_extensions().get(path.suffix.lower())
    if found not in PICTURES:
        raise ValueError(f"{path}: expected a name that ends in .png, .jpg or .webp")
    return found


def write_picture(path: Path, pixels: NDArray[np.uint8], **options: Any) -> None:
    """Write a picture in one step, in the format of its name; its folder is made if absent.

    Its EXIF data name sppnet as the software, see `output_files.is_own`.

    Args:
        path: ends in .png, .jpg or .webp.
        pixels: uint8 RGB (H, W, 3).
        options: of the format, for Pillow; for example `quality`.

    Raises:
        ValueError: the name stands for another format.
        FileExistsError: there is a file that is not from sppnet.
        OSError: it cannot be written.
    """
    from PIL import Image

    check_name(path)
    origin = Image.Exif()
    origin[_SOFTWARE] = MARK
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, picture_format(path), exif=origin, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [buffer.getvalue()])


class GrowingFile:
    """A text file that is complete after every step, so that no later failure takes finished results along.

    It appears with the first step, in place of an earlier one of sppnet.

    Args:
        path: the file; its folder is made if absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept = 0  # bytes that stay
        self._ending: bytes | None = None  # None: the file is not begun

    def append(self, text: str, ending: str = "") -> None:
        """Replace the last ending by `text` and a new ending.

        Raises:
            FileExistsError: there is a file that is not from sppnet.
            OSError: it cannot be written; the file stays as it was.
        """
        new, closing = readable(text).encode(), readable(ending).encode()
        if self._ending is None:
            write_text(self.path, text + ending)
        else:
            with self.path.open("r+b", buffering=0) as file:
                if os.fstat(file.fileno()).st_size != self._kept + len(self._ending):
                    raise OSError(f"{self.path}: another program has changed it; later results are missing")
                try:
                    _end_with(file, self._kept, new + closing)
                except OSError as error:
                    _end_with(file, self._kept, self._ending)
                    raise OSError(
                        error.errno, f"{error.strerror}; later results are missing", str(self.path)
                    ) from error
        self._kept += len(new)
        self._ending = closing


def _end_with(file: io.FileIO, start: int, data: bytes) -> None:
    """Replace everything from byte `start` on."""
    file.seek(start)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    file.truncate()


class GrowingTable:
    """A CSV file that is complete after every step.

    Args:
        path: the file; None: nothing is written.
        columns: the header.
    """

    def __init__(self, path: Path | None, columns: Sequence[str]) -> None:
        self._file = GrowingFile(path) if path else None
        self._header: list[Sequence[str]] = [columns]

    def append(self, rows: Iterable[Sequence[object]] = ()) -> None:
        """Append rows, the header first if the table is new.

        Raises:
            FileExistsError: there is a file that is not from sppnet.
            OSError: it cannot be written; the table stays as it was.
        """
        if self._file is None:
            return
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([*self._header, *rows])
        self._file.append(buffer.getvalue())
        self._header = []
