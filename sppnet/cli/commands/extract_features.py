"""Convolve every photo of a data set once per scale, and search the proposals that are missing.

The first of three commands: extract-features, train-svms, test-net.
"""

from __future__ import annotations

from typing import Any

from sppnet.cli.resolving import resolve_run as resolve
from sppnet.settings.detector import FeatureSettings

SETTINGS = FeatureSettings
__all__ = ["SETTINGS", "resolve", "run"]


def run(settings: FeatureSettings) -> dict[str, Any]:
    """Return the number of images with features, their folder and size, and the images left out."""
    from detection.config import View
    from sppnet.detector.features import discard_features, extract_features, views_of
    from sppnet.detector.proposals import discard_proposals, extract_proposals
    from sppnet.progress import log_left_out
    from sppnet.run import Run
    from sppnet.text import size

    if settings.views and settings.inference != "best":
        raise ValueError("--views: only with --inference best, which looks at them")
    run = Run.open(settings)
    splits = dict.fromkeys((run.train_split, run.test_split))
    if settings.overwrite:
        discard_features(run, settings, dict.fromkeys((View(), *views_of(settings), *settings.learned_views)))
        discard_proposals(run, splits, settings)
    searched = {split: extract_proposals(run, split, settings) for split in splits}
    datasets = {split: dataset for split, (dataset, _) in searched.items()}
    cache, bad = extract_features(run, datasets, settings)
    for _, unreadable in searched.values():
        bad = unreadable | bad
    further = dict.fromkeys(settings.learned_views, datasets)
    tested = {run.test_split: datasets[run.test_split]}
    for view, seen in (dict.fromkeys(views_of(settings), tested) | further).items():
        if view != View():
            extract_features(run, seen, settings, view)
    log_left_out(bad)
    images = len({record.id for dataset in datasets.values() for record in dataset} - set(bad))
    n_bytes = cache.bytes_per_image() * images
    print(f"features of {images} images in {cache.root}, {size(n_bytes)}")
    return {"images": images, "features": str(cache.root), "bytes": n_bytes, "left_out": bad}
