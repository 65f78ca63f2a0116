"""Photos that annotation files name: found as written, or by the end of their path if it is from another machine."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from data.files import HINT
from data.photo_index import PhotoIndex, path_parts, the_one

MOVED = "photos that are not where the labels say, found by the end of their path"
"""Kind of remarks; see `data.annotation.Annotation.notes`."""


class PhotoSearch:
    """Finds the photos of an annotation file that lists paths; see `PhotoIndex.find` for those of labelling tools.

    Photos that are stated in the same folder are found in the same way: as written, in the first of the places that has
    one of them; else below the places without the first folders of their path; else the nearest anywhere below a
    folder. One that is not found in this way is missing, even if there is a photo of its name elsewhere.

    Args:
        places: folders that paths may start from, the usual one first.
        below: folder that is searched with its subfolders.
        source: the annotation file, for messages.
    """

    def __init__(self, places: Iterable[Path], below: Path, source: Path) -> None:
        self.places, self.source = list(dict.fromkeys(places)), source
        self._index = PhotoIndex(below)

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
                moved.update(self._moved(path_parts(group[0])[:-1], group))
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

    def _moved(self, folder: Sequence[str], group: Sequence[str]) -> dict[str, Path]:
        """Return stated path -> photo, of the photos stated in one folder that exists nowhere as written."""
        last = {name: path_parts(name)[-1] for name in group if path_parts(name)}
        for start in range(len(folder) + 1):
            for place in (place.joinpath(*folder[start:]) for place in self.places):
                there = set(os.listdir(place)) if place.is_dir() else set()
                if not there.isdisjoint(last.values()):
                    return {name: place / file for name, file in last.items() if file in there}
        return self._by_end(folder, last)

    def _by_end(self, folder: Sequence[str], last: Mapping[str, str]) -> dict[str, Path]:
        """Return stated path -> photo below the folder that agrees with the most last parts of the stated one."""
        near = {name: self._index.nearest((*folder, file), bare=True) for name, file in last.items()}
        most = max((shared for shared, _ in near.values()), default=0)
        found = {name: paths for name, (shared, paths) in near.items() if paths and shared == most}
        return {name: the_one(paths, name, self.source) for name, paths in found.items()}

    def _check_different(self, found: Mapping[str, Path], moved: Mapping[str, Path]) -> None:
        """Raise ValueError if a photo that is not where the file says would also be another one."""
        first: dict[Path, str] = {Path(os.path.normpath(path)): name for name, path in found.items()}
        for name, path in moved.items():
            other = first.setdefault(Path(os.path.normpath(path)), name)
            if path_parts(other) != path_parts(name):
                raise ValueError(f"{self.source}: {other} and {name} both lead to {path}; correct one of them")
