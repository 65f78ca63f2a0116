"""The automatic division of photos without splits into training and test photos."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data.records import Dataset

TEST_SHARE = 0.2  # of the images

_BLOCK = 4096  # bytes at the start, in the middle and at the end of a file that decide

log = logging.getLogger(__name__)


def part_of(whole: Dataset, split: str, stem: str, told: str) -> Dataset:
    """Return the training or the test images, and what is said about them.

    The content of an image file decides: copies of a photo are always in the same part, whatever their names, and
    adding images does not move others, unless one of the parts would be empty. Similar photos may be in both parts:
    which photos are similar depends on all of them, so that adding images would move others.

    Args:
        whole: all images.
        split: "train" or "test".
        stem: name of the data set.
        told: why it is divided, for the message.

    Raises:
        ValueError: there is only one image, or all are copies of one.
    """
    draw = {record.id: _draw_of_file(record.path, record.id) for record in whole}
    test = _test_ids(draw, stem)
    counts = f"{len(whole) - len(test)} for training, {len(test)} for testing"
    log.warning("%s: %s; divided automatically: %s", stem, told, counts)
    test |= {image_id for image_id in whole.bad if _draw(image_id.encode()) < TEST_SHARE}
    return _only(whole, f"{stem} {split}", lambda image_id: (image_id in test) == (split == "test"))


def _only(whole: Dataset, name: str, inside: Callable[[str], bool]) -> Dataset:
    """Return some images; remarks on no image are with the training images."""

    def mine(remarks: Sequence[str]) -> tuple[str, ...]:
        return tuple(remark for remark in remarks if inside(remark.split(": ")[0]))

    return replace(
        whole,
        name=name,
        records=tuple(r for r in whole if inside(r.id)),
        bad={image_id: reason for image_id, reason in whole.bad.items() if inside(image_id)},
        dropped=mine(whole.dropped),
        clipped=mine(whole.clipped),
        notes={kind: mine(remarks) for kind, remarks in whole.notes.items()},
    )


def _test_ids(draw: Mapping[str, float], stem: str) -> set[str]:
    """Choose images for testing by their numbers in [0, 1): at least one, not all, and all of the same number."""
    alike: dict[float, list[str]] = defaultdict(list)
    for image_id, number in draw.items():
        alike[number].append(image_id)
    if len(alike) < 2:
        what = "one image is" if len(draw) == 1 else f"{len(draw)} copies of one image are"
        raise ValueError(f"{stem}: {what} too few for training and testing; add others")
    count = sum(number < TEST_SHARE for number in alike)
    chosen = sorted(alike)[: min(max(count, 1), len(alike) - 1)]
    return {image_id for number in chosen for image_id in alike[number]}


def _draw_of_file(path: Path, image_id: str) -> float:
    """Turn the content of a file into a number in [0, 1); the image id, if the file is empty or cannot be read."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            blocks = [str(size).encode()]
            for start in (0, size // 2, max(0, size - _BLOCK)):
                file.seek(start)
                blocks.append(file.read(_BLOCK))
    except OSError:
        size = 0
    return _draw(b"".join(blocks) if size else image_id.encode())


def _draw(content: bytes) -> float:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
