"""Describe photos by vectors: a layer of a network, of a crop or of the whole photo.

sppnet-extract-representations --data photos --layers spp --short-side 392
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from sppnet.classifier import photos
from tools import common

LAYERS = ("conv4", "conv5", "6x6", "spp", "fc6", "fc7")


def run(options: common.Options) -> dict[str, Any]:
    """Where the vectors are, and their lengths."""
    from sppnet.classifier.representations import extractor_of, represent

    folder, splits = photos.folder_of(options), photos.of_benchmark(options)
    vectors = represent(options, folder, extractor_of(options), splits, options.layers)
    found = {}
    for split, arrays in vectors.items():
        for layer, rows in arrays.items():
            path = Path(rows.filename)  # type: ignore[attr-defined]
            found[f"{split} {layer}"] = {"path": path, "photos": len(rows), "length": rows.shape[1]}
            print(f"{path}: {len(rows)} vectors of {rows.shape[1]}; row i is photo i of manifest.json beside it")
    return found


def flags(p: argparse.ArgumentParser) -> None:
    """Which layers."""
    p.add_argument("--layers", choices=LAYERS, nargs="+", default=["spp"], help="of the network (spp)")


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    from sppnet.classifier.representations import flags as view_flags

    groups = (photos.photo_flags, photos.benchmark_flags, view_flags, flags, photos.network_flags)
    return common.main(run, common.parser((__doc__ or "").split("\n", 1)[0], *groups), argv)


if __name__ == "__main__":
    sys.exit(main())
