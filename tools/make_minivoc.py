"""Write a small generated data set: the same as `sppnet minivoc`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # works in a clone that is not installed, too

from sppnet.cli import main

if __name__ == "__main__":
    sys.exit(main(["minivoc", *sys.argv[1:]]))
