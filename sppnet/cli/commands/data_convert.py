"""Write labelled photos in another format: VOC, COCO, YOLO, CSV, CVAT or Label Studio.

The new folder appears whole or not at all, and nothing is overwritten. Photos are hard links to the originals: they
take no space, and changing the contents of one changes the other. With --copy, or where the file system has no such
links, they are copied.

sppnet data convert my_photos my_photos_yolo --format yolo
"""

from __future__ import annotations

from typing import Any

from sppnet.errors import Incomplete
from sppnet.settings.commands import ConvertSettings

SETTINGS = ConvertSettings


def run(settings: ConvertSettings) -> dict[str, Any]:
    """Return how many photos and objects each split has, and how the photos were written."""
    from sppnet.dataset_conversion import convert_dataset

    s = settings
    done = convert_dataset(s.data, s.to, s.format, splits=s.splits, copy=s.copy, skip_bad=s.skip_bad, images=s.images)
    for split, counts in done.splits.items():
        print(f"{split}: {counts['photos']} photos, {counts['objects']} objects")
    print(f"{s.to}: {done.linked} photos linked, {done.copied} copied")
    bad = [reason for of_split in done.bad.values() for reason in of_split.values()]
    if bad:
        raise Incomplete(f"{s.data}: left out {len(bad)} unusable photos, the first: {bad[0]}", done.to_dict())
    return done.to_dict()
