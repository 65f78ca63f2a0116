"""Check a labelled data set before training: count its classes, list its faults, draw photos with their objects.

The exit code is 1 if photos are unusable or the same photo is in several splits.

sppnet check my_photos --sheet sheet.png
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sppnet.errors import Incomplete
from sppnet.settings.commands import CheckSettings

if TYPE_CHECKING:
    from sppnet.dataset_check import SplitCheck

SETTINGS = CheckSettings
COLUMNS = ("images", "objects", "difficult", "small", "medium", "large")
EXAMPLES = 5  # printed of each kind of fault; the json report has all


def run(settings: CheckSettings) -> dict[str, Any]:
    """Return counts and faults of each split, and the photos in several splits."""
    from sppnet.dataset_check import check_dataset, photo_sheet
    from sppnet.files import picture_format, write_picture

    s = settings
    if s.sheet:
        picture_format(s.sheet)  # fails before the work
    check = check_dataset(s.data, s.splits)
    lines = [line for split in check.splits.values() for line in _counts(split)]
    for name, split in check.splits.items():
        for kind, items in split.faults.items():
            lines += _faults(f"{name}: {kind}", list(items.values() if isinstance(items, dict) else items))
        lines += [split.advice] if split.advice else []
    lines += _faults("photos in several splits", [" = ".join(str(path) for _, path in group) for group in check.shared])
    print("\n".join(lines))
    if s.sheet:
        write_picture(s.sheet, photo_sheet(check, s.photos, s.seed))
        print(f"sheet of photos: {s.sheet}")
    if check.unusable or check.shared:
        faults = f"{check.unusable} unusable photos, {len(check.shared)} photos in several splits"
        advice = "correct the data set, or leave unusable photos out with --skip-bad in later commands"
        raise Incomplete(f"{s.data}: {faults}; {advice}", check.to_dict())
    return check.to_dict()


def _counts(split: SplitCheck) -> Iterator[str]:
    """A line on the photos of a split, and a table of its classes."""
    from detection.evaluation.results import format_rows

    yield f"{split.dataset.name}: {len(split.dataset)} photos, {split.empty} of them without objects"
    rows = [[name, *(str(row[column]) for column in COLUMNS)] for name, row in split.counts.items()]
    yield from format_rows([["class", *COLUMNS], *rows])


def _faults(kind: str, items: Sequence[str]) -> Iterator[str]:
    """How many there are and some examples; nothing if there are none."""
    if items:
        yield f"{kind}: {len(items)}"
        yield from (f"  {item}" for item in items[:EXAMPLES])
        if len(items) > EXAMPLES:
            yield f"  and {len(items) - EXAMPLES} more, which --json lists"
