"""Build a `Dataset` from annotations; shared by all readers."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from data.annotation import TWICE, Annotation
from data.names import listed
from data.records import Dataset, ImageRecord

Reader = Callable[[], tuple[Path, Annotation]]
"""Returns an image file and its annotation; raises ValueError or OSError."""

_NAMED_IN_WARNING = 3

log = logging.getLogger(__name__)


def build(
    name: str,
    readers: Mapping[str, Reader],
    classes: Sequence[str] | None,
    skip_bad: bool,
    order: Callable[[set[str]], Sequence[str]] = sorted,
    notes: Mapping[str, Sequence[str]] | None = None,
) -> Dataset:
    """Read all images of a split.

    Objects of classes that are not in `classes` are left out, with a warning that names and counts them.

    Args:
        name: name of the data set and split, for messages.
        readers: image id -> function that reads this image.
        classes: class names in label order; None: the names that occur, as ordered by `order`.
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.
        order: function that puts the class names that occur in label order.
        notes: kind -> remarks on the split as a whole; those of its images are added.

    Raises:
        OSError, ValueError: an image cannot be used, or none of them can.
    """
    found, bad = _read_all(readers, skip_bad)
    if not found:
        first = f"; first error: {next(iter(bad.values()))}" if bad else ""
        raise ValueError(f"{name}: none of the {len(readers)} images can be used{first}")
    annotations = {image_id: annotation for image_id, (_, annotation) in found.items()}
    names = tuple(order({n for a in annotations.values() for n in a.names}) if classes is None else classes)
    label_of = {c: label for label, c in enumerate(names)}
    unknown = {i: tuple(n for n in a.names if n not in label_of) for i, a in annotations.items()}
    dataset = Dataset(
        name,
        names,
        records=tuple(_record(i, path, a, label_of) for i, (path, a) in found.items()),
        bad=bad,
        dropped=tuple(f"{i}: {note}" for i, a in annotations.items() for note in a.dropped),
        clipped=tuple(f"{i}: {note}" for i, a in annotations.items() for note in a.clipped),
        unknown={i: left_out for i, left_out in unknown.items() if left_out},
        notes=_notes(notes or {}, annotations),
    )
    repeated = len(dataset.notes.get(TWICE, ()))
    _warn_of_faults(dataset, repeated + sum(len(a.names) + len(a.dropped) for a in annotations.values()))
    return dataset


def _read_all(
    readers: Mapping[str, Reader], skip_bad: bool
) -> tuple[dict[str, tuple[Path, Annotation]], dict[str, str]]:
    """Return what the readers return by image id, and id -> reason of the images that cannot be used."""
    found: dict[str, tuple[Path, Annotation]] = {}
    bad: dict[str, str] = {}
    for image_id, read in readers.items():
        try:
            found[image_id] = read()
        except (ValueError, OSError) as error:
            if not skip_bad:
                raise
            bad[image_id] = str(error)
    return found, bad


def _notes(of_split: Mapping[str, Sequence[str]], annotations: Mapping[str, Annotation]) -> dict[str, tuple[str, ...]]:
    """Return kind -> remarks on the split and on its images, these with the image id."""
    found = defaultdict(list, {kind: list(remarks) for kind, remarks in of_split.items()})
    for image_id, annotation in annotations.items():
        for kind, remarks in annotation.notes.items():
            found[kind] += [f"{image_id}: {remark}" for remark in remarks]
    return {kind: tuple(remarks) for kind, remarks in found.items() if remarks}


def _warn_of_faults(dataset: Dataset, total: int) -> None:
    """Log one warning per kind of fault; `total` is the number of objects in the files."""
    name, bad, dropped, clipped = dataset.name, dataset.bad, dataset.dropped, dataset.clipped
    _warn(f"{name}: skipped {len(bad)} of {len(dataset) + len(bad)} images", tuple(bad.values()))
    _warn(f"{name}: dropped {len(dropped)} of {total} boxes, which are empty or outside the image", dropped)
    _warn(f"{name}: clipped {len(clipped)} of {total} boxes, which extend beyond the image", clipped)
    for kind, remarks in dataset.notes.items():
        _warn(f"{name}: {kind}: {len(remarks)}", remarks)
    left_out = dataset.left_out
    which = [f"{unknown} ({count})" for unknown, count in left_out.items()]
    _warn(f"{name}: left out {sum(left_out.values())} of {total} objects, of classes unknown from training", which)


def _warn(what: str, notes: Sequence[str]) -> None:
    if notes:
        log.warning("%s; %s", what, listed(notes, _NAMED_IN_WARNING, "; "))


def _record(image_id: str, path: Path, annotation: Annotation, label_of: dict[str, int]) -> ImageRecord:
    known = np.array([name in label_of for name in annotation.names], np.bool_)
    return ImageRecord(
        id=image_id,
        path=path,
        size=annotation.size,
        boxes=annotation.boxes[known].astype(np.float32),
        labels=np.array([label_of[name] for name in annotation.names if name in label_of], np.int64),
        difficult=annotation.difficult[known],
    )
