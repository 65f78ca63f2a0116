"""Which label files of a folder stand for which splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from data.folders import files_in, folders_in, named
from data.json_files import DAMAGED, OTHER, format_of
from data.split_names import kind_of

_WITHOUT_KIND = ("default", "all")


def is_split(name: str) -> bool:
    """Whether a file or folder is called like a split."""
    return kind_of(name) is not None or name.lower() in _WITHOUT_KIND


def split_in(folders: Iterable[str]) -> str:
    """Return the first folder that is called like a split; "" if there is none."""
    return next(filter(is_split, folders), "")


def one_file_per_split(root: Path, suffix: str, is_own: Callable[[Path], bool], what: str) -> dict[str, Path]:
    """Return split name -> the file that holds its labels; empty if there is none.

    Looks for one file in a folder or its folder annotations, which is the split "all"; for several that are called like
    splits, as in train.json; and for one in each subfolder. A single file is the split "all".

    Args:
        root: folder or file.
        suffix: of the files, ".json" for example.
        is_own: whether a file is of the format.
        what: name of the format, for messages.

    Raises:
        ValueError: there are several files, and their names do not say which is for what.
    """
    if root.is_file():
        return {"all": root} if root.suffix.lower() == suffix and is_own(root) else {}
    for folder in (root, named(root, "annotations")):
        files = files_in(folder, (suffix,))
        if any(map(is_own, files)):
            return _by_stem([path for path in files if is_own(path) or _is_other_split(path)], what)
    below = {folder.name: list(filter(is_own, files_in(folder, (suffix,)))) for folder in folders_in(root)}
    return {name: _only(files, what) for name, files in below.items() if files}


def _is_other_split(path: Path) -> bool:
    """Whether a file of no known format is called like a split: beside others, it is reported when it is read."""
    return is_split(path.stem) and (path.suffix.lower() != ".json" or format_of(path) in (DAMAGED, OTHER))


def _by_stem(files: list[Path], what: str) -> dict[str, Path]:
    if len(files) == 1:
        return {"all": files[0]}
    by_stem = {path.stem: path for path in files}
    if len(by_stem) < len(files) or not all(map(is_split, by_stem)):
        _only(files, what)
    return by_stem


def _only(files: list[Path], what: str) -> Path:
    if len(files) > 1:
        raise ValueError(
            f"{files[0]} and {files[1].name}: {what} files of the same photos, or of different ones? give the path of "
            "one of them, or call them train and test"
        )
    return files[0]
