"""Photos that annotation files name: found as written, or by the end of their path if it is from another machine."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from data.files import HINT, PHOTOS
from data.folders import files_below

MOVED = "photos that are not where the labels say, found by the end of their path"
"""Kind of remarks; see `data.annotation.Annotation.notes`."""

Parts = tuple[str, ...]


class PhotoSearch:
    """Finds the photos of an annotation file.

    Photos that are stated in the same folder are found in the same way: as written, in the first of the places that has
    one of them; else below the places without the first folders of their path; else anywhere below a folder, by as many
    last parts of the path as possible. A photo of theirs that is not found in this way is missing, even if there is one
    of its name elsewhere.

    Args:
        places: folders that paths may start from, the usual one first.
        below: folder that is searched with its subfolders.
        source: the annotation file, for messages.
    """

    def __init__(self, places: Iterable[Path], below: Path, source: Path) -> None:
        self.places, self.below, self.source = list(dict.fromkeys(places)), below, source

    def find(self, stated: Iterable[str]) -> tuple[dict[str, Path], list[str]]:
        """Find photos.

        Args:
            stated: paths as written in the file, with slashes or backslashes.

        Returns:
            stated path -> photo, or where it is expected if it is missing; and remarks on those that are not where the
            file says.

        Raises:
            FileNotFoundError: none of the photos is there.
            ValueError: a stated path can mean several photos, or a photo is meant by several paths.
        """
        names = list(dict.fromkeys(stated))
        groups: dict[tuple[str, bool], list[str]] = defaultdict(list)
        for name in names:
            groups[os.path.dirname(name.replace("\\", "/")), "\\" in name].append(name)
        places = {key: self._place(group) for key, group in groups.items()}
        found: dict[str, Path] = {}
        moved: dict[str, Path] = {}
        for key, group in groups.items():
            if place := places[key]:
                found.update({name: place / os.path.normpath(name) for name in group})
            else:
                moved.update(self._moved(parts_of(group[0])[:-1], group))
        if names and not found and not moved:
            looked = ", ".join(map(str, self.places))
            raise FileNotFoundError(f"image is missing: {names[0]} of {self.source}; looked in {looked}; {HINT}")
        self._check_different(found, moved)
        usual = next(filter(None, places.values()), self.places[0])
        expected = {name: usual / os.path.normpath(name) for name in names}
        return expected | found | moved, [f"{name}: {path}" for name, path in moved.items()]

    def _place(self, group: Sequence[str]) -> Path | None:
        """Return the first place that the first photo that is anywhere is in, as written."""
        return next((place for name in group for place in self.places if (place / name).is_file()), None)

    def _moved(self, folder: Parts, group: Sequence[str]) -> dict[str, Path]:
        """Return stated path -> photo, of the photos stated in one folder that exists nowhere as written."""
        last = {name: parts_of(name)[-1] for name in group}
        for start in range(len(folder) + 1):
            for place in (place.joinpath(*folder[start:]) for place in self.places):
                there = set(os.listdir(place)) if place.is_dir() else set()
                if not there.isdisjoint(last.values()):
                    return {name: place / file for name, file in last.items() if file in there}
        return self._by_end(folder, last)

    def _by_end(self, folder: Parts, last: Mapping[str, str]) -> dict[str, Path]:
        """Return stated path -> photo below the folder that agrees with the most last parts of the stated one."""
        near = {name: _nearest(folder, self._index.get(file.lower(), ())) for name, file in last.items()}
        most = max((length for length, _ in near.values()), default=0)
        found = {name: paths for name, (length, paths) in near.items() if paths and length == most}
        for name, paths in found.items():
            if len(paths) > 1:
                raise ValueError(f"{self.source}: {name} can be {paths[0]} or {paths[1]}; {HINT}")
        return {name: paths[0] for name, paths in found.items()}

    @cached_property
    def _index(self) -> dict[str, list[Path]]:
        """File name in lower case, with and without its suffix -> photos."""
        index: dict[str, list[Path]] = defaultdict(list)
        for path in files_below(self.below):
            if path.suffix.lower() in PHOTOS:
                index[path.name.lower()].append(path)
                index[path.stem.lower()].append(path)
        return index

    def _check_different(self, found: Mapping[str, Path], moved: Mapping[str, Path]) -> None:
        """Raise ValueError if a photo that is not where the file says would also be another one."""
        first: dict[Path, str] = {Path(os.path.normpath(path)): name for name, path in found.items()}
        for name, path in moved.items():
            other = first.setdefault(Path(os.path.normpath(path)), name)
            if parts_of(other) != parts_of(name):
                raise ValueError(f"{self.source}: {other} and {name} both lead to {path}; correct one of them")


def parts_of(stated: str) -> Parts:
    """Return the folders and the name of a path as any system writes it; slashes and dots before it are left out."""
    parts = os.path.normpath(stated.replace("\\", "/")).split("/")
    return tuple(part for part in parts if part not in ("", ".", "..")) or ("",)


def _nearest(folder: Parts, photos: Sequence[Path]) -> tuple[int, list[Path]]:
    """Return the largest number of last folders that photos share with a stated folder, and those photos."""
    shared = [_shared(folder, path.parent.parts) for path in photos]
    most = max(shared, default=0)
    return most, [path for path, length in zip(photos, shared, strict=True) if length == most]


def _shared(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the number of last parts that are the same, in upper or lower case."""
    pairs = zip(reversed(a), reversed(b), strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x.lower() != y.lower()), min(len(a), len(b)))
