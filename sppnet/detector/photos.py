"""Photos of a run that were replaced since something was made from them."""

from __future__ import annotations

from pathlib import Path

from data.records import Dataset
from detection.photo_record import PhotoRecord
from sppnet.text import counted


def refuse_changed(record: Path, dataset: Dataset, what: str) -> None:
    """Refuse to work with windows or maps of photos that were replaced since.

    Args:
        record: file that holds what the photos were; photos that it does not name count as unchanged.
        dataset: the images.
        what: was made from the photos, for the message.

    Raises:
        ValueError: a photo is not what it was.
    """
    photos = PhotoRecord(record)
    if changed := photos.changed(photos.look(r for r in dataset if r.id in photos.known)):
        raise ValueError(
            f"{dataset.name}: {counted(len(changed), 'photo')} changed since their {what} were made, {changed[0]} the "
            "first; run `sppnet stage extract-features`, which makes anew what changed"
        )
