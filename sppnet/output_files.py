"""Which files commands may write: those that do not exist yet, and those that a command wrote before.

Everything else belongs to somebody: an existing file is replaced only if its content says that it is from sppnet, and
never if it is an input of the same command. What commands write can be recognised: pictures, films, pages,
settings and Parquet files hold `MARK`, json reports and lines have their keys, tables their header and numbers.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Set
from pathlib import Path

from detection.files import MARK
from detection.temporary import remove_leftovers

Identity = tuple[int, int]  # device and inode: one per file, whatever links and spellings lead to it

SUGGESTION_COLUMNS = ("file", "uncertainty", "distance")
DETECTION_COLUMNS = ("file", "frame", "class", "score", "probability", "x0", "y0", "x1", "y1")
CLASS_COLUMNS = ("file", "class", "score")
_TABLES = {  # header -> how a row ends
    f"{','.join(DETECTION_COLUMNS)}\n".encode(): re.compile(rb",-?\d+\.\d{4},(\d\.\d{4})?(,-?\d+\.\d){4}\n\Z"),
    f"{','.join(CLASS_COLUMNS)}\n".encode(): re.compile(rb",-?\d+\.\d{4}\n\Z"),
    f"{','.join(SUGGESTION_COLUMNS)}\n".encode(): re.compile(rb"(,(\d+\.\d{4})?){2}\n\Z"),
}
_LINE_START = re.compile(rb'\{"file": "([^"\\]|\\.)*(\\?\Z|", "(frame": \d+, "detections|detections|error)": )')
_LINE_END = re.compile(rb'("error": "([^"\\]|\\.)*"|"detections": \[\]|"box": \[[-+\d., e]+\]\}\])\}\n\Z')
_REPORT_START, _REPORT_KEY = b'{\n "result": ', b'\n "versions": {\n  "sppnet": '
_SEARCHED = 4096  # bytes at either end of a file


def is_own(path: Path) -> bool:
    """Whether the file is from sppnet, by its content; false for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_SEARCHED)
            file.seek(max(0, file.seek(0, os.SEEK_END) - _SEARCHED))
            tail = file.read()
    except OSError:
        return False
    mark = MARK.encode()
    report = head.startswith(_REPORT_START) and _REPORT_KEY in tail
    table = any(head == h or (head.startswith(h) and row.search(tail)) for h, row in _TABLES.items())
    lines = bool(_LINE_START.match(head) and _LINE_END.search(tail))
    return mark in head or mark in tail or report or table or lines


def identities(paths: Iterable[str | os.PathLike[str]]) -> frozenset[Identity]:
    """The files among some paths or other texts; those that are no files are left out."""
    found = set()
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(status.st_mode):
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def check_file(path: Path, inputs: Set[Identity] = frozenset()) -> None:
    """Check that a file may be written, see `check_name`, and that its folder can.

    Raises:
        FileExistsError: it exists, and is an input or not from sppnet.
        OSError: nothing can be written there.
    """
    check_name(path, inputs)
    check_folder(path.parent)


def check_name(path: Path, inputs: Set[Identity] = frozenset()) -> None:
    """Check that a file is absent, empty or from sppnet, and no input.

    Args:
        path: the file to write.
        inputs: files that are never replaced.

    Raises:
        FileExistsError: it exists, and is an input or not from sppnet.
        OSError: it is a folder, or there can be no file of this name.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; name a file")
    if inputs and identities([path]) & inputs:
        raise FileExistsError(f"{path}: is an input of this command and is not replaced; choose another name or folder")
    if not path.is_file():
        raise FileExistsError(f"{path}: is not an ordinary file; choose another name")
    if path.stat().st_size and not is_own(path):
        raise FileExistsError(
            f"{path}: exists and is not from sppnet, so it is not replaced; move it, or choose another name or folder"
        )


def check_new_folder(folder: Path, sources: Iterable[str], others: Iterable[Path | None]) -> None:
    """Check that a folder is absent or empty, is not searched for inputs, and takes no other output.

    Args:
        folder: the folder to write.
        sources: files, folders and patterns that are searched.
        others: other outputs; None: not asked for.

    Raises:
        FileExistsError: it holds something.
        ValueError: it lies in a folder that is searched, or another output lies in it.
    """
    from data.writers import check_absent  # numpy, which most commands need later or never

    check_absent(folder)
    target = folder.resolve()
    for source in (Path(name).resolve() for name in sources if Path(name).is_dir()):
        if source in (target, *target.parents):
            raise ValueError(f"{folder}: lies among the photos; name a folder outside of {source}")
    for other in filter(None, others):
        if target in (other.resolve(), *other.resolve().parents):
            raise ValueError(f"{other}: lies in {folder}, which has to be empty; choose another place")


def remove_leftovers_beside(folder: Path) -> None:
    """Delete what killed processes left beside a folder that is to be written, as far as that is allowed."""
    with contextlib.suppress(OSError):
        remove_leftovers(folder.absolute().parent)


def check_folder(folder: Path) -> None:
    """Check that files can be written into a folder that exists or can be made; nothing is left behind.

    Raises:
        NotADirectoryError: a file is in its place.
        OSError: it cannot be written.
    """
    there = next(p for p in (folder, *folder.parents) if os.path.lexists(p))
    if not there.is_dir():
        raise NotADirectoryError(f"{there}: is not a folder; choose another place for {folder}")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OSError(f"{folder}: cannot be written ({error.strerror or error}); choose another folder") from None
