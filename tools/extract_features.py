"""Convolve every photo of a data set once a scale, and make the proposals that are missing.

The first of three commands: extract_features, train_svms, test_net.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common

if TYPE_CHECKING:
    from data.records import Dataset


def run(options: common.Options) -> dict[str, Any]:
    """Proposals and conv5 maps of both splits."""
    from sppnet.detector.features import extract_features, extract_proposals

    run = common.Run.of(options)
    datasets: list[Dataset] = []
    bad: dict[str, str] = {}
    for split in dict.fromkeys((options.train_split, options.test_split)):
        dataset, unreadable = extract_proposals(run, split)
        datasets.append(dataset)
        bad |= unreadable
    cache, unreadable = extract_features(run, datasets)
    bad |= unreadable
    if options.mirror:
        extract_features(run, datasets[:1], mirrored=True)
    common.list_bad(bad)
    images = len({record.id for dataset in datasets for record in dataset} - set(bad))
    size = cache.bytes_per_image() * images
    print(f"features of {images} images in {cache.root}, {size / 1e9:.2f} GB")
    return {"images": images, "features": str(cache.root), "bytes": size, "left_out": bad}


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    flags = common.parser(
        __doc__,
        common.data_flags,
        common.network_flags,
        common.compute_flags,
        common.proposal_flags,
        common.search_flags,
    )
    flags.add_argument("--mirror", action="store_true", help="mirror images of the training photos too, for finetune")
    return common.main(run, flags, argv)


if __name__ == "__main__":
    sys.exit(main())
