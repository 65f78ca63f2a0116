"""Paths that are URLs: what was typed as s3://bucket/run, which `pathlib` keeps as s3:/bucket/run."""

from __future__ import annotations

import os
import re
from pathlib import PurePath

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.+)", re.DOTALL)  # one letter is a drive of Windows


def url_of(path: str | os.PathLike[str]) -> str | None:
    """Return the URL that a path or text stands for; None if it is a path of this machine."""
    found = _URL.fullmatch(PurePath(path).as_posix())
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[2].rstrip("/")
    return f"{scheme}:///{rest}" if scheme == "file" else f"{scheme}://{rest}"
