"""Names of splits, and the label files that stand for splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from data.folders import files_in, folders_in, named
from data.json_files import DAMAGED, kind_of

SPLIT_WORDS = frozenset(
    {"train", "training", "trainval", "val", "valid", "validation", "test", "testing", "dev", "default", "all"}
)
"""What splits are called, in lower case."""


def split_name(name: str) -> str:
    """Return the name of a split, in lower case if it is one of the usual words: Train is train."""
    return name.lower() if name.lower() in SPLIT_WORDS else name


def split_in(folders: Iterable[str]) -> str:
    """Return the split that the first folder which is called like one stands for; "" if there is none."""
    return next((folder.lower() for folder in folders if folder.lower() in SPLIT_WORDS), "")


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
            return _by_stem([path for path in files if is_own(path) or _is_damaged_split(path)], what)
    below = {split_name(folder.name): list(filter(is_own, files_in(folder, (suffix,)))) for folder in folders_in(root)}
    return {name: _only(files, what) for name, files in below.items() if files}


def _is_damaged_split(path: Path) -> bool:
    """Whether a file beside others of a format, called like a split, is damaged; that is reported when it is read."""
    return path.suffix.lower() == ".json" and path.stem.lower() in SPLIT_WORDS and kind_of(path) == DAMAGED


def _by_stem(files: list[Path], what: str) -> dict[str, Path]:
    if len(files) == 1:
        return {"all": files[0]}
    by_stem = {split_name(path.stem): path for path in files}
    if len(by_stem) < len(files) or not by_stem.keys() <= SPLIT_WORDS:
        _only(files, what)
    return by_stem


def _only(files: list[Path], what: str) -> Path:
    if len(files) > 1:
        raise ValueError(
            f"{files[0]} and {files[1].name}: {what} files of the same photos, or of different ones? give the path of "
            "one of them, or call them train and test"
        )
    return files[0]
