"""Photos of written data sets: their names, and how they get there."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from data.records import ImageRecord
from data.writers.checks import check_text


@dataclass
class Photos:
    """Puts photos into a written data set, and counts them.

    Attributes:
        copy: copy photos; otherwise link them, and copy only where that is impossible.
        linked, copied: numbers of photos so far.
    """

    copy: bool = False
    linked: int = 0
    copied: int = 0

    def put(self, photo: Path, target: Path) -> None:
        """Link or copy a photo; the folder of the new file is made if absent.

        Raises:
            OSError: the photo cannot be read, or the file exists or cannot be written.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        if not self.copy and _linked(photo, target):
            self.linked += 1
            return
        with photo.open("rb") as source, target.open("xb") as file:
            shutil.copyfileobj(source, file)
        self.copied += 1


def _linked(photo: Path, target: Path) -> bool:
    """Make a hard link; false if there can be none, as between file systems or to files of other users."""
    try:
        os.link(photo.resolve(), target)  # resolved, or else a symbolic link would get a second name
    except OSError:
        return False
    return True


def file_names(datasets: Mapping[str, Iterable[ImageRecord]]) -> dict[Path, str]:
    """Choose names for photos that are to lie in one folder; no two have the same stem, in upper or lower case.

    A photo keeps its name if no other has it. Else it is called by its id, which has its folders, or if another has
    that too, by its split and id.

    Args:
        datasets: split name -> records; a photo in several splits has one name.

    Returns:
        photo -> file name.

    Raises:
        ValueError: two photos would still have the same name, or label files cannot hold a name.
    """
    photos = {record.path: (split, record.id) for split, records in datasets.items() for record in records}
    stems = Counter(path.stem.casefold() for path in photos)
    ids = Counter(image_id.casefold() for _, image_id in photos.values())
    taken: dict[str, Path] = {}
    names: dict[Path, str] = {}
    for path, (split, image_id) in photos.items():
        if stems[path.stem.casefold()] == 1:
            stem = path.stem
        else:
            stem = image_id if ids[image_id.casefold()] == 1 else f"{split}-{image_id}"
        check_text(stem, f"{path.parent}: photo")
        other = taken.setdefault(stem.casefold(), path)
        if other != path:
            raise ValueError(f"{path} and {other}: would both be called {stem}; rename one")
        names[path] = stem + path.suffix
    return names
