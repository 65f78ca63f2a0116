"""Write vectors that describe photos: the output of a layer of a network, for a crop or the whole photo.

sppnet classifier represent --data labelled_photos --short-side 392
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sppnet.cli.resolving import resolve_classifier_run as resolve
from sppnet.settings.classifier import RepresentationSettings

SETTINGS = RepresentationSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: RepresentationSettings) -> dict[str, Any]:
    """Return file, number and length of the vectors of each split and layer."""
    from sppnet.classifier.photos import photos_of_benchmark
    from sppnet.classifier.representations import load_extractor, represent

    splits = photos_of_benchmark(settings)
    vectors = represent(settings, load_extractor(settings), splits, settings.layers)
    found = {}
    for split, arrays in vectors.items():
        for layer, rows in arrays.items():
            path = Path(rows.filename)  # type: ignore[attr-defined]  # of the array on disk
            found[f"{split} {layer}"] = {"path": path, "photos": len(rows), "length": rows.shape[1]}
            print(f"{path}: {len(rows)} vectors of length {rows.shape[1]}; row i is photo i of manifest.json beside it")
    return found
