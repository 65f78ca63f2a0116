"""Photos and videos given as files, folders or glob patterns."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.files import PHOTOS


@dataclass(frozen=True)
class Source:
    """An input file and the relative path of its results.

    Attributes:
        path: the input file.
        place: path of its results within the output folder, unique to each source.
    """

    path: Path
    place: Path


def find(names: Iterable[str], suffixes: frozenset[str] = PHOTOS) -> list[Source]:
    """Return the named files, each once, in the given order; files of a folder are sorted.

    Args:
        names: files of any kind; folders, which are searched with their subfolders for files with one of `suffixes`;
            glob patterns such as "holiday/*.jpg", where "**" matches subfolders.
        suffixes: lower-case suffixes with their dots.

    Raises:
        FileNotFoundError: a name matches no file, or a folder holds no file with such a suffix.
    """
    found: dict[Path, Source] = {}
    taken: set[Path] = set()
    for name in names:
        for path, place in _named(name, suffixes):
            if path.resolve() not in found:
                found[path.resolve()] = Source(path, _free(place, taken))
    return list(found.values())


def _named(name: str, suffixes: frozenset[str]) -> list[tuple[Path, Path]]:
    path = Path(name)
    if path.is_file():
        return [(path, Path(path.name))]
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in suffixes and p.is_file()]
        if not files:
            raise FileNotFoundError(
                f"{name}: no photo in this folder; expected files ending in {', '.join(sorted(suffixes))}"
            )
        return [(p, p.relative_to(path)) for p in files]
    matches = [Path(p) for p in sorted(glob.glob(name, recursive=True)) if Path(p).is_file()]
    if not matches:
        raise FileNotFoundError(f"{name}: no such file or folder, and no file that matches it as a pattern")
    return [(p, Path(p.name)) for p in matches]


def _free(place: Path, taken: set[Path]) -> Path:
    """Return the path, with a number appended to its stem if another source already has it."""
    candidate, number = place, 2
    while candidate.with_suffix("") in taken:
        candidate, number = place.with_name(f"{place.stem}-{number}{place.suffix}"), number + 1
    taken.add(candidate.with_suffix(""))
    return candidate
