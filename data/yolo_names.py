"""Class names of YOLO data sets, from data.yaml or from lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data.folders import folders_in
from data.text import read_text
from data.yolo_config import Config

CLASS_LISTS = ("classes.txt", "predefined_classes.txt", "obj.names", "_darknet.labels")
"""Names of files with one class name per line, as labelImg, CVAT and Roboflow call them."""


@dataclass(frozen=True)
class ClassNames:
    """Names of the classes, for all photos or by folder, as labelImg writes them.

    Attributes:
        lists: folder -> class number -> name.
    """

    lists: Mapping[Path, Mapping[int, str]]

    @classmethod
    def of(cls, root: Path, config: Config | None) -> ClassNames:
        """Read the names of data.yaml, or the lists in a folder and two levels below it.

        Raises:
            ValueError: a file is damaged.
        """
        if config is not None:
            return cls({config.path.parent: config.names})
        below = folders_in(root)
        places = [root, *below, *(folder for place in below for folder in folders_in(place))]
        found = {place: next((p for p in map(place.joinpath, CLASS_LISTS) if p.is_file()), None) for place in places}
        return cls({place: _numbered(path) for place, path in found.items() if path})

    @property
    def all(self) -> tuple[str, ...]:
        """Every name once; empty if classes have only numbers."""
        return tuple(dict.fromkeys(name for names in self.lists.values() for name in names.values()))

    def of_photo(self, photo: Path, label: Path) -> Mapping[int, str]:
        """Return class number -> name, from the list nearest to a photo or its label file; empty: there is no list.

        Raises:
            ValueError: the only lists are those of other folders, and differ.
        """
        near = [folder for folder in (*photo.parents, *label.parents) if folder in self.lists]
        if near:
            return self.lists[max(near, key=lambda folder: len(folder.parts))]
        different = list({tuple(names.items()): names for names in self.lists.values()}.values())
        if len(different) > 1:
            folders = " and ".join(map(str, list(self.lists)[:2]))
            raise ValueError(f"{label}: no class names; the lists in {folders} differ, so add one beside the labels")
        return different[0] if different else {}


def _numbered(path: Path) -> dict[int, str]:
    """Return class number -> name of a list.

    Raises:
        ValueError: a blank line stands before a name, so that the numbers of the names after it are doubtful.
    """
    lines = [line.strip() for line in read_text(path).rstrip().splitlines()]
    if "" in lines:
        told = "the numbers of the names after it are doubtful; delete the line, or write the name of its class there"
        raise ValueError(f"{path}: line {lines.index('') + 1} is blank, so {told}")
    return dict(enumerate(lines))
