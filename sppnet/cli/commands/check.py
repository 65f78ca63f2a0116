"""Check a labelled data set before training: count its classes, list its faults, draw photos with their objects.

The exit code is 1 if photos are unusable or the same photo is in several splits.

sppnet check my_photos --sheet sheet.png
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppnet.errors import Incomplete
from sppnet.settings.commands import CheckSettings

if TYPE_CHECKING:
    from sppnet.dataset_check import SplitCheck

SETTINGS = CheckSettings
COLUMNS = ("images", "objects", "difficult", "small", "medium", "large")
EXAMPLES = 5  # printed of each kind of fault; the json report has all


def resolve(settings: CheckSettings) -> CheckSettings:
    """Take the data set from DATA or --data.

    Raises:
        ValueError: both are given.
    """
    if settings.path and settings.data:
        raise ValueError("name the data set once: DATA, or --data DATA")
    return replace(settings, data=settings.path or settings.data, path=None)


def run(settings: CheckSettings) -> dict[str, Any]:
    """Return counts, sizes and faults of each split, and the photos in several splits."""
    from sppnet.dataset_check import check_dataset, photo_sheet
    from sppnet.files import picture_format, write_picture
    from sppnet.run import DataSource

    s = settings
    if s.sheet:
        picture_format(s.sheet)  # fails before the work
    source = DataSource.of(s)
    check = check_dataset(source, s.splits)
    lines = [line for split in check.splits.values() for line in _counts(split)]
    for name, split in check.splits.items():
        for kind, items in split.faults.items():
            lines += _faults(f"{name}: {kind}", _texts(items), split.first_file(kind))
        lines += [split.advice] if split.advice else []
    lines += _faults("photos in several splits", _groups(check.shared, " = "))
    lines += _faults("photos that look like one in another split", _groups(check.alike, " ~ "))
    print("\n".join(lines))
    if s.sheet:
        write_picture(s.sheet, photo_sheet(check, s.photos, s.seed))
        print(f"sheet of photos: {s.sheet}")
    if check.unusable or check.shared:
        faults = f"{check.unusable} unusable photos, {len(check.shared)} photos in several splits"
        advice = "correct the data set, or leave unusable photos out with --skip-bad in later commands"
        raise Incomplete(f"{source.root}: {faults}; {advice}", check.to_dict())
    return check.to_dict()


def _counts(split: SplitCheck) -> Iterator[str]:
    """Lines on the photos of a split, and a table of its classes."""
    from data.checks import photo_sizes
    from detection.evaluation.results import format_rows

    yield f"{split.dataset.name}: {len(split.dataset)} photos, {split.empty} of them without objects"
    sizes = (f"{width} x {height} ({name})" for name, (height, width) in photo_sizes(split.dataset).items())
    yield f"width x height: {', '.join(sizes)}"
    rows = [[name, *(str(row[column]) for column in COLUMNS)] for name, row in split.counts.items()]
    yield from format_rows([["class", *COLUMNS], *rows])


def _texts(items: Mapping[str, str] | Sequence[str]) -> list[str]:
    return list(items.values() if isinstance(items, Mapping) else items)


def _groups(groups: Sequence[Sequence[tuple[str, Path]]], sign: str) -> list[str]:
    return [sign.join(str(path) for _, path in group) for group in groups]


def _faults(kind: str, items: Sequence[str], first: Path | None = None) -> Iterator[str]:
    """How many there are, the file of the first and some examples; nothing if there are none."""
    if items:
        yield f"{kind}: {len(items)}" + (f"; first: {first}" if first else "")
        yield from (f"  {item}" for item in items[:EXAMPLES])
        if len(items) > EXAMPLES:
            yield f"  and {len(items) - EXAMPLES} more, which --json lists"
