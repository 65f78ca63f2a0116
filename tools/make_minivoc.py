"""Write MiniVOC, a small generated data set laid out as a VOCdevkit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common


def run(options: common.Options) -> dict[str, Any]:
    """Generate the data set."""
    from data import minivoc

    devkit = minivoc.generate(options.folder, options.train, options.test, options.seed)
    print(devkit)
    return {"devkit": str(devkit)}


def flags(p: argparse.ArgumentParser) -> None:
    """Where, and how much."""
    p.add_argument("folder", type=Path, nargs="?", default=Path("datasets/minivoc"), help="(%(default)s)")
    p.add_argument("--train", type=int, default=120, help="training images (%(default)s)")
    p.add_argument("--test", type=int, default=60, help="test images (%(default)s)")
    p.add_argument("--seed", type=common.seed, default=0, help="of the images (%(default)s)")


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    return common.main(run, common.parser(__doc__, flags), argv)


if __name__ == "__main__":
    sys.exit(main())
