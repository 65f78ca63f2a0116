"""Build a `Dataset` from annotations; shared by all readers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from data.annotation import Annotation
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
) -> Dataset:
    """Read all images of a split.

    Args:
        name: name of the data set and split, for messages.
        readers: image id -> function that reads this image.
        classes: class names in label order; None: the names that occur, as ordered by `order`.
        skip_bad: skip images that cannot be used and list them in `Dataset.bad`, instead of raising.
        order: function that puts the class names that occur in label order.

    Raises:
        OSError, ValueError: an image cannot be used, or none of them can; or the class of an object is not in
            `classes`.
    """
    found: dict[str, tuple[Path, Annotation]] = {}
    bad: dict[str, str] = {}
    for image_id, read in readers.items():
        try:
            found[image_id] = _checked(read(), classes)
        except (ValueError, OSError) as error:
            if not skip_bad:
                raise
            bad[image_id] = str(error)
    if not found:
        first = f"; first error: {next(iter(bad.values()))}" if bad else ""
        raise ValueError(f"{name}: none of the {len(readers)} images can be used{first}")
    if bad:
        log.warning("%s: skipped %d of %d images; %s", name, len(bad), len(readers), _first(bad.values()))
    dropped, clipped = (
        tuple(f"{i}: {note}" for i, (_, a) in found.items() for note in getattr(a, what))
        for what in ("dropped", "clipped")
    )
    total = sum(len(a.names) for _, a in found.values()) + len(dropped)
    _warn(f"{name}: dropped {len(dropped)} of {total} boxes, which are empty or outside the image", dropped)
    _warn(f"{name}: clipped {len(clipped)} of {total} boxes, which extend beyond the image", clipped)
    names = tuple(order({n for _, a in found.values() for n in a.names}) if classes is None else classes)
    label_of = {c: label for label, c in enumerate(names)}
    records = tuple(_record(i, path, a, label_of) for i, (path, a) in found.items())
    return Dataset(name, names, records, bad, dropped, clipped)


def _checked(found: tuple[Path, Annotation], classes: Sequence[str] | None) -> tuple[Path, Annotation]:
    for count, name in enumerate(found[1].names, 1):
        if classes is not None and name not in classes:
            raise ValueError(f"{found[1].source}: object {count} is {name!r}, expected one of {', '.join(classes)}")
    return found


def _warn(what: str, notes: Sequence[str]) -> None:
    if notes:
        log.warning("%s; %s", what, _first(notes))


def _first(notes: Iterable[str]) -> str:
    notes = list(notes)
    more = f"; and {len(notes) - _NAMED_IN_WARNING} more" if len(notes) > _NAMED_IN_WARNING else ""
    return "; ".join(notes[:_NAMED_IN_WARNING]) + more


def _record(image_id: str, path: Path, annotation: Annotation, label_of: dict[str, int]) -> ImageRecord:
    return ImageRecord(
        id=image_id,
        path=path,
        size=annotation.size,
        boxes=annotation.boxes.astype(np.float32),
        labels=np.array([label_of[name] for name in annotation.names], np.int64),
        difficult=annotation.difficult,
    )
