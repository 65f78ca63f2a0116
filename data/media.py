"""Photos and videos given as files, folders or glob patterns."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from data.files import OTHER_PICTURES, PHOTOS
from data.folders import files_below
from data.names import readable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """An input file and the relative path of its results.

    Attributes:
        path: the input file.
        place: path of its results within the output folder, unique to each source.
    """

    path: Path
    place: Path


def find(
    names: Iterable[str], suffixes: frozenset[str] = PHOTOS, is_own: Callable[[Path], bool] | None = None
) -> list[Source]:
    """Return the named files, each once, in the given order; files of a folder are sorted.

    What is left out of a folder is logged: pictures in formats that cannot be read, and this program's own.

    Args:
        names: files of any kind; folders, which are searched with their subfolders and those that links lead to for
            files with one of `suffixes`; glob patterns such as "holiday/*.jpg", where "**" matches subfolders. A part
            of a pattern that is itself the name of a file or folder stands for that alone.
        suffixes: lower-case suffixes with their dots.
        is_own: whether this program wrote a file; such files are left out of what folders and patterns give, unless
            they give nothing else. None: there are none.

    Raises:
        FileNotFoundError: a name matches no file, or a folder holds no file with such a suffix.
    """
    found: dict[Path, Source] = {}
    taken: set[str] = set()
    for name in names:
        for path, place in _named(name, suffixes, is_own):
            if path.resolve() not in found:
                found[path.resolve()] = Source(path, _free(place, taken))
    return list(found.values())


def _named(name: str, suffixes: frozenset[str], is_own: Callable[[Path], bool] | None) -> list[tuple[Path, Path]]:
    """Files and the places of their results."""
    path = Path(name)
    if path.is_file():
        return [(path, Path(path.name))]
    if path.is_dir():
        files = _of_others(name, _media_below(path, suffixes), is_own)
        return [(p, p.relative_to(path)) for p in files]
    matches = [p for p in _matches(name) if p.is_file()]
    if not matches:
        raise FileNotFoundError(f"{name}: no such file or folder, and no file that matches it as a pattern")
    return [(p, Path(p.name)) for p in _of_others(name, matches, is_own)]


def _media_below(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """The files in a folder with one of the suffixes, sorted."""
    there = files_below(folder)
    files = [path for path in there if path.suffix.lower() in suffixes]
    others = Counter(path.suffix.lower() for path in there if path.suffix.lower() in OTHER_PICTURES - suffixes)
    if others:
        kinds = ", ".join(f"{n} {suffix}" for suffix, n in others.most_common())
        log.warning("%s: left out, in formats that cannot be read: %s; convert them to JPEG or PNG", folder, kinds)
    if not files:
        raise FileNotFoundError(
            f"{folder}: no photo in this folder; expected files ending in {', '.join(sorted(suffixes))}"
        )
    return files


def _of_others(name: str, files: list[Path], is_own: Callable[[Path], bool] | None) -> list[Path]:
    """The files without those that this program wrote; all of them if it wrote them all."""
    own = {path for path in files if is_own is not None and is_own(path)}
    if not own or len(own) == len(files):
        return files
    shown = readable(str(min(own))) + ", ..." * (len(own) > 1)
    log.info("%s: left out %d of %d files, which sppnet wrote itself: %s", name, len(own), len(files), shown)
    return [path for path in files if path not in own]


def _matches(pattern: str) -> list[Path]:
    """The paths that match a glob pattern, sorted."""
    parts = Path(pattern).parts
    found: set[Path] = {Path()}
    for part in (*parts, "*") if parts[-1:] == ("**",) else parts:
        found = {match for base in found for match in _step(base, part)}
    return sorted(found, key=os.fspath)


def _step(base: Path, part: str) -> Iterable[Path]:
    """The paths in a folder that match one part of a pattern; "**" gives the folder and all below it."""
    if os.path.lexists(base / part):
        return [base / part]
    if part == "**":
        below = {parent for path in files_below(base) for parent in path.parents} if base.is_dir() else set[Path]()
        return [base, *(folder for folder in below if base in folder.parents)]
    return [base / match for match in glob.glob(part, root_dir=base)]


def _free(place: Path, taken: set[str]) -> Path:
    """Return the path, with a number appended to its stem if another source already has it, in whatever case."""
    candidate, number = place, 2
    while str(candidate.with_suffix("")).casefold() in taken:
        candidate, number = place.with_name(f"{place.stem}-{number}{place.suffix}"), number + 1
    taken.add(str(candidate.with_suffix("")).casefold())
    return candidate
