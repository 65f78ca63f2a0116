"""Photos and films out of what a person names: files, folders, patterns."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.files import PHOTOS


@dataclass(frozen=True)
class Source:
    """A file, and where its results go below a folder of them.

    Attributes:
        path: the file.
        place: a relative path, different for every source.
    """

    path: Path
    place: Path


def find(names: Iterable[str], suffixes: frozenset[str] = PHOTOS) -> list[Source]:
    """The files that are meant, each once, in the order given, those of a folder by name.

    Args:
        names: files of any kind; folders, of whose files those with one of `suffixes` are taken, of folders below
            too; patterns such as "holiday/*.jpg", "**" for folders below.
        suffixes: lower case, with their dots.

    Raises:
        FileNotFoundError: a name is of nothing, or nothing in it has such a suffix.
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
            raise FileNotFoundError(f"{name}: no photo in this folder; it may hold {', '.join(sorted(suffixes))}")
        return [(p, p.relative_to(path)) for p in files]
    matches = [Path(p) for p in sorted(glob.glob(name, recursive=True)) if Path(p).is_file()]
    if not matches:
        raise FileNotFoundError(f"{name}: no such file or folder, and no file of such a name")
    return [(p, Path(p.name)) for p in matches]


def _free(place: Path, taken: set[Path]) -> Path:
    """The place, or with a number behind it if another source has it."""
    candidate, number = place, 2
    while candidate.with_suffix("") in taken:
        candidate, number = place.with_name(f"{place.stem}-{number}{place.suffix}"), number + 1
    taken.add(candidate.with_suffix(""))
    return candidate
