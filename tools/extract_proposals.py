"""Search the photos of a data set for candidate windows: proposals/<split>.npz."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common


def run(options: common.Options) -> dict[str, Any]:
    """Proposals of both splits."""
    from sppnet.detector.features import DEFAULT_SOURCE, extract_proposals

    run = common.Run.of(options)
    counts: dict[str, Any] = {}
    for split in dict.fromkeys((options.train_split, options.test_split)):
        dataset, bad = extract_proposals(run, split)
        common.list_bad(bad)
        found = len({r.id for r in dataset} - set(bad))
        print(f"{split}: proposals of {found} images in {run.proposals(split, DEFAULT_SOURCE)}")
        counts[split] = {"images": len(dataset), "left_out": bad}
    return counts


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    flags = common.parser(__doc__, common.data_flags, common.proposal_flags, common.search_flags)
    return common.main(run, flags, argv)


if __name__ == "__main__":
    sys.exit(main())
