"""Fetch pretrained weights and print where they are kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file, perhaps from a clone that is not installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0 done, 1 failed as expected, 130 interrupted."""
    from detection.weights import pretrained

    parser = argparse.ArgumentParser(prog="sppnet-fetch-weights", description=__doc__)
    known = " or ".join(pretrained.CHECKPOINTS)
    files = " or ".join(dict.fromkeys(c.distribution.filename for c in pretrained.CHECKPOINTS.values()))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{known}; none given: all, or all in --archive")
    parser.add_argument("--archive", "--sdist", type=Path, metavar="FILE", help=f"{files} got elsewhere")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    args = parser.parse_args(argv)
    for name in args.names:
        if name not in pretrained.CHECKPOINTS:
            parser.error(f"NAME: expected {known}, got {name!r}")
    names = args.names or (pretrained.names_in(args.archive) if args.archive else list(pretrained.CHECKPOINTS))
    if not names:
        parser.error(f"--archive: expected {files}, got {args.archive.name}; give the NAME that it holds")
    try:
        for name in names:
            if not pretrained.path_of(name).is_file():
                print(f"fetching {name} into {pretrained.home()}", file=sys.stderr)
            print(pretrained.fetch(name, args.archive), flush=True)
    except (OSError, ValueError) as error:
        if args.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
