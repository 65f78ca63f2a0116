"""Names of folders that are being written."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
from pathlib import Path

_NAME_KEPT = 40  # characters of a name in that of its temporary folder; the longest names leave no room for more


def temporary_folder(folder: Path) -> Path:
    """Return a new name beside a folder for what becomes the folder.

    It says which process of which machine it is of, as `detection.temporary.remove_leftovers` reads it, which deletes
    what killed processes left. This package imports none of the others.
    """
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    return folder.with_name(f".{folder.name[-_NAME_KEPT:]}.{os.getpid()}-{machine}-{secrets.token_hex(4)}.tmp")
