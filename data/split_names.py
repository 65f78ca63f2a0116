"""What splits are for, by their names: train2017, valid, Testing."""

from __future__ import annotations

import re
from collections.abc import Iterable

from data.names import check_plain

KINDS = {
    "trainval": ("trainval",),
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Kind of split -> its names."""

PREFERRED = {"train": ("trainval", "train"), "test": ("test", "val")}
"""Purpose -> the kinds of splits that serve it, the preferred one first."""

_KIND = {name: kind for kind, names in KINDS.items() for name in names}
_YEAR = re.compile(r"(?<!\d)(19|20)\d\d(?!\d)")
_FILE_WORDS = frozenset(
    {"annotation", "annotations", "boxes", "coco", "data", "images", "instances", "label", "labels", "photos", "set"}
)  # words that name files and folders beside the split, as in train_labels.csv
_LONGEST = 150  # bytes; names of files, which may have 255, contain more than the name of a split


def check_split(name: str, what: str = "split") -> None:
    """Check that files and folders can be called after a split.

    Args:
        name: of the split.
        what: where it was found, the start of the message.

    Raises:
        ValueError: it is too long, or no plain file name.
    """
    advice = "rename the split, in its column, attribute or file name"
    check_plain(name, what, advice)
    if len(name.encode("utf-8", "surrogateescape")) > _LONGEST:
        raise ValueError(f"{what} {name[:40]!r}... has more than {_LONGEST} bytes; {advice}")


def kind_of(name: str) -> str | None:
    """Return the kind of a split, one of `KINDS`, or None if the name says nothing.

    Case, years and words such as "labels" do not count: "Train", "train2017" and "train_labels" are "train".
    """
    words = re.split(r"[\W_]+", _YEAR.sub("", name.lower()))
    return _KIND.get("".join(word for word in words if word not in _FILE_WORDS))


def for_purpose(names: Iterable[str], purpose: str) -> list[str]:
    """Return the splits of the preferred kind that there is.

    Args:
        names: all splits of a data set.
        purpose: "train" or "test".

    Returns:
        one split; several if the names do not decide; none if no split is for this purpose.
    """
    known = {name: kind_of(name) for name in names}
    of_kind = ([name for name, kind in known.items() if kind == wanted] for wanted in PREFERRED[purpose])
    return next((found for found in of_kind if found), [])
