"""Proposals and features of a run: made once, read by every later stage."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import Dataset, ImageRecord
from detection import features, memory, network
from detection import image as pixels
from detection.cache import FeatureCache, check_space, clear, estimate
from detection.config import Config
from proposals import io
from proposals.batch import compute
from proposals.sources import ProposalSettings
from sppnet.progress import log, progress, shows_progress
from tools.common import Run, exclusive

Boxes = NDArray[np.float32]
Settings = dict[str, Any]
DEFAULT_SOURCE = "ss"
MEASURED_IMAGES = 5  # images after which the disk need is known well enough to state


def extract_proposals(run: Run, split: str) -> tuple[Dataset, dict[str, str]]:
    """Search the images of a split that have no proposals yet.

    Returns:
        the images, and id -> reason of those left out on request.
    """
    dataset, o = run.dataset(split), run.options
    if run.given_boxes:
        return dataset, dataset.bad
    source = o.proposals or DEFAULT_SOURCE
    settings = ProposalSettings(source, o.max_boxes, o.min_side, o.max_side, o.seed)
    path = run.proposals(split, source)
    with exclusive(path):
        if o.overwrite:
            path.unlink(missing_ok=True)
            shutil.rmtree(path.with_name(f"{path.name}.parts"), ignore_errors=True)
        bad = compute(dataset, path, settings, workers=o.workers, skip_bad=o.skip_bad, progress=shows_progress())
    log.info("proposals of %s: %s", dataset.name, path)
    return dataset, dataset.bad | bad


def load_proposals(run: Run, split: str, made: Mapping[str, Any] | None = None) -> tuple[dict[str, Boxes], Settings]:
    """The proposals of a split, and how they were made.

    Args:
        run: says which, and how many of an image.
        split: of the data set.
        made: how those that a model was trained on were made, which others should follow.

    Raises:
        FileNotFoundError: they have not been made.
    """
    path = run.proposals(split, (made or {}).get("source"))
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no proposals of this split; run extract_features, or extract_proposals")
    log.info("reading %s", path)
    proposals, meta = io.load(path)
    limit = run.options.max_boxes or (made or {}).get("max_boxes")
    settings = {**(meta or {"file": path.name}), "max_boxes": limit or meta.get("max_boxes")}
    if made and settings != made:
        log.warning("%s: made as %s, the model learned from %s", path, settings, made)
    return {name: boxes[:limit] for name, boxes in proposals.items()}, settings


def extract_features(
    run: Run, datasets: Iterable[Dataset], mirrored: bool = False
) -> tuple[FeatureCache, dict[str, str]]:
    """Convolve every image of the data sets, or its mirror image, that is not in the cache.

    Returns:
        the cache, and id -> reason of the images left out on request.
    """
    name, config = run.configuration()
    body = network.build(name, run.options.weights or "pretrained", run.options.device, config.precision)
    scales = config.pooling.scales
    folder = run.features(name, config, mirrored)
    if run.options.overwrite:
        clear(folder)
    cache = FeatureCache(folder, features.cache_manifest(body, scales, config.preset, mirrored))
    records = list({record.id: record for dataset in datasets for record in dataset}.values())
    what = "mirror images" if mirrored else "images"
    log.info("features of %d %s at short sides %s: %s", len(records), what, ", ".join(map(str, scales)), folder)
    todo = [record for record in records if record.id not in cache]
    bad: dict[str, str] = {}
    with progress(len(records), len(records) - len(todo), "img", "features") as bar:
        for number, record in enumerate(memory.kept_flat(todo)):
            if number == min(MEASURED_IMAGES, len(todo) - 1) > 0:
                size = cache.bytes_per_image()
                log.info("disk: %s", estimate(size, len(records)))
                check_space(folder, size, len(todo) - number)
            if record.id not in cache:  # another process may have come first
                reason = _convolve(record, body, cache, run.options.skip_bad)
                if reason is not None:
                    bad[record.id] = reason
            bar.update()
    return cache, bad


def _convolve(record: ImageRecord, body: network.ConvBody, cache: FeatureCache, skip_bad: bool) -> str | None:
    """Compute and keep one image's maps; the reason why it cannot be read, if it may be skipped."""
    try:
        photo = pixels.read(record.path, record.size)
        if cache.manifest.get("mirrored"):
            photo = np.ascontiguousarray(photo[:, ::-1])
        pyramid = features.compute_pyramid(photo, body, cache.manifest["scales"])
    except (OSError, ValueError) as error:
        if not skip_bad:
            raise
        return str(error)
    features.store_pyramid(cache, record.id, pyramid)
    return None


def open_features(
    run: Run, name: str, config: Config, weights: str | None = None, mirrored: bool = False
) -> FeatureCache:
    """The run's features; with `weights`, those of convolutions with this hash.

    Raises:
        FileNotFoundError: there are none for this network and these scales.
        ValueError: they are of other weights.
    """
    folder = run.features(name, config, mirrored)
    if not (folder / "manifest.json").is_file():
        raise FileNotFoundError(
            f"{folder}: no such features; run extract_features with the same --backbone, --scales and --precision"
            + " and --mirror" * mirrored
        )
    log.info("reading %s", folder)
    cache = FeatureCache(folder)
    found = cache.manifest["weights"]
    if weights is not None and found != weights:
        raise ValueError(
            f"{folder}: weights {found[:12]}, but the model was trained on {weights[:12]}; run extract_features "
            "--overwrite with the weights of the model, or train_svms --overwrite"
        )
    return cache


def usable(run: Run, dataset: Dataset, proposals: dict[str, Boxes], cache: FeatureCache) -> list[ImageRecord]:
    """The images that have proposals and features.

    Raises:
        ValueError: an image has none, and --skip-bad was not given.
    """
    missing = [r.id for r in dataset if r.id not in proposals or r.id not in cache]
    if missing and not run.options.skip_bad:
        raise ValueError(
            f"{dataset.name}: {len(missing)} images without proposals or features, {missing[0]} the first; "
            "run extract_features for this split, or leave them out with --skip-bad"
        )
    if missing:
        log.warning("%s: left out %d images without proposals or features: %s", dataset.name, len(missing), missing)
    gone = set(missing)
    return [r for r in dataset if r.id not in gone]
