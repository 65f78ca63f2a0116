"""Suggest which photos to label next: the same as `sppnet suggest`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # works in a clone that is not installed, too

from sppnet.cli import main

if __name__ == "__main__":
    sys.exit(main(["suggest", *sys.argv[1:]]))
