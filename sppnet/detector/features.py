"""Feature maps of a run: each photo is convolved once, and every later stage reads the cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from data.records import Dataset, ImageRecord
from detection import features, memory, network
from detection import image as pixels
from detection.cache import FeatureCache, check_space, clear, estimate
from detection.config import Config
from sppnet.progress import log, progress
from sppnet.run import Run, configuration
from sppnet.settings.detector import FeatureSettings

MEASURED_IMAGES = 5  # images after which the size of the cache can be estimated


def extract_features(
    run: Run, datasets: Iterable[Dataset], settings: FeatureSettings, mirrored: bool = False
) -> tuple[FeatureCache, dict[str, str]]:
    """Convolve every image of the data sets, or its mirror image, that is not in the cache.

    Args:
        run: keeps the cache.
        datasets: the images; an image in several is convolved once.
        settings: network, scales, device.
        mirrored: convolve mirror images, into a cache of their own.

    Returns:
        the cache, and id -> reason of the images left out on request.

    Raises:
        OSError, ValueError: an image cannot be used, the cache is of other settings, or there is no room.
    """
    name, config = configuration(settings)
    body = network.build(name, settings.weights or "pretrained", settings.device, config.precision)
    scales = config.pooling.scales
    folder = run.features(name, config, mirrored)
    if settings.overwrite:
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
                reason = _convolve(record, body, cache, run.skip_bad)
                if reason is not None:
                    bad[record.id] = reason
            bar.update()
    return cache, bad


def _convolve(record: ImageRecord, body: network.ConvBody, cache: FeatureCache, skip_bad: bool) -> str | None:
    """Convolve one image into the cache; return why it cannot be read, if it may be skipped."""
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
    """Open the run's cache of one network at some scales.

    Args:
        run: holds the cache.
        name: of the network.
        config: scales and precision.
        weights: hash that the network's weights must have; None: any.
        mirrored: the cache of mirror images.

    Raises:
        FileNotFoundError: there is no cache of this network at these scales.
        ValueError: it is of other weights.
    """
    folder = run.features(name, config, mirrored)
    if not (folder / "manifest.json").is_file():
        raise FileNotFoundError(
            f"{folder}: no such features; run `sppnet stage extract-features` with the same --backbone, --scales and "
            "--precision" + " and --mirror" * mirrored
        )
    log.info("reading %s", folder)
    cache = FeatureCache(folder)
    found = cache.manifest["weights"]
    if weights is not None and found != weights:
        raise ValueError(
            f"{folder}: weights {found[:12]}, but the model was trained on {weights[:12]}; run "
            "`sppnet stage extract-features --overwrite` with the weights of the model, or "
            "`sppnet stage train-svms --overwrite`"
        )
    return cache


def usable_records(
    run: Run, dataset: Dataset, proposals: Mapping[str, NDArray[np.float32]], cache: FeatureCache
) -> list[ImageRecord]:
    """The images that have proposals and features.

    Raises:
        ValueError: an image has none, and the run does not skip unusable images.
    """
    missing = [r.id for r in dataset if r.id not in proposals or r.id not in cache]
    if missing and not run.skip_bad:
        raise ValueError(
            f"{dataset.name}: {len(missing)} images without proposals or features, {missing[0]} the first; "
            "run `sppnet stage extract-features` for this split, or leave them out with --skip-bad"
        )
    if missing:
        log.warning("%s: left out %d images without proposals or features: %s", dataset.name, len(missing), missing)
    gone = set(missing)
    return [r for r in dataset if r.id not in gone]
