"""What worker processes do before their work."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parents[2]
"""The folder of this project's packages."""

PACKAGES = ("classification", "data", "detection", "proposals", "sppnet")


def import_packages() -> None:
    """Import the packages of this project.

    Their submodules are then found through them, even where sys.path, which is that of the caller, finds another
    `proposals` or `detection` first.
    """
    for name in PACKAGES:
        importlib.import_module(name)


def use_threads(count: int) -> None:
    """Limit OpenCV and torch, loaded or not, to so many threads in this process."""
    import cv2

    cv2.setNumThreads(count)
    os.environ["OMP_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


def code_digest() -> str:
    """Return a digest of this project's code, to compare that of machines."""
    digest = hashlib.sha256()
    for file in sorted(f for name in PACKAGES for f in (ROOT / name).rglob("*.py")):
        digest.update(f"{file.relative_to(ROOT).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()
