"""Feature maps of a run: each photo is convolved once, and every later stage reads the cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from data.records import Dataset, ImageRecord
from detection import features, memory, network, parallel
from detection.cache import FeatureCache, check_space, clear, estimate
from detection.config import PAPER, Config, View
from detection.engines.engine import Engine
from detection.engines.this_process import ThisProcess
from detection.photo_record import PhotoRecord
from detection.temporary import remove_leftovers
from sppnet.detector.convolving import Convolver, reason_of
from sppnet.detector.photos import refuse_changed
from sppnet.engines import engine_of
from sppnet.progress import log, progress
from sppnet.run import Run, configuration
from sppnet.settings.detector import FeatureSettings

MEASURED_IMAGES = 5  # images after which the size of the cache can be estimated


def extract_features(
    run: Run, datasets: Mapping[str, Dataset], settings: FeatureSettings, view: View | None = None
) -> tuple[FeatureCache, dict[str, str]]:
    """Convolve every image of the data sets that is not in the cache or was replaced since.

    An image in several splits is convolved once. A split with other photos under the ids of a split before it gets a
    cache of its own, a folder within the other.

    Args:
        run: keeps the cache.
        datasets: split -> images.
        settings: network, scales, device.
        view: what is convolved, into a cache of its own; None: the images as they are.

    Returns:
        the cache, and id -> reason of the images left out on request.

    Raises:
        OSError, ValueError: an image cannot be used, the cache is of other settings, or there is no room.
    """
    name, config = configuration(settings, run)
    engine, weights = engine_of(settings, settings.device), settings.weights or "pretrained"
    body = network.build(name, weights, "cpu" if engine else settings.device, config.precision)
    view = view or View()
    scales = view.scales(config.pooling.scales)
    folder = run.features(name, config, view)
    cache = _open_cache(folder, config, body, view, settings.overwrite)
    manifest = cache.manifest
    bad: dict[str, str] = {}
    caches = _by_cache(folder, datasets)
    for part, records in caches.items():
        if part != folder and not part.is_dir():
            _remove_doubtful(cache, records)
    for part, records in caches.items():
        what = "mirror images" if view.mirror else "images"
        log.info("features of %d %s at short sides %s: %s", len(records), what, ", ".join(map(str, scales)), part)
        cache_of_part = FeatureCache(part, manifest)
        convolver = Convolver(body, weights, settings.device, cache_of_part, run.skip_bad)
        bad |= _fill(cache_of_part, records, convolver, engine)
    return cache, bad


def discard_features(run: Run, settings: FeatureSettings, views: Iterable[View]) -> None:
    """Empty the caches of views for --overwrite, so that an interrupted command continues without it.

    The empty caches are of the new settings.

    Args:
        run: keeps the caches.
        settings: network, scales, device.
        views: that are convolved next.

    Raises:
        OSError, ValueError: the network cannot be built.
    """
    name, config = configuration(settings, run)
    body = network.build(name, settings.weights or "pretrained", settings.device, config.precision)
    for view in views:
        _open_cache(run.features(name, config, view), config, body, view, anew=True)


def _open_cache(folder: Path, config: Config, body: network.ConvBody, view: View, anew: bool) -> FeatureCache:
    """The cache in a folder, without the maps of earlier settings if it is made anew.

    Raises:
        ValueError: it is of other settings.
    """
    if anew:
        for old in (folder, *(path.parent for path in folder.glob("*/manifest.json"))):
            clear(old)
    scales = view.scales(config.pooling.scales)
    return FeatureCache(folder, features.cache_manifest(body, scales, config.preset, view.mirror))


def views_of(settings: FeatureSettings) -> tuple[View, ...]:
    """The views that the inference of settings looks at; of "paper" if they name none."""
    named = settings.views or settings.train_views
    config = replace(PAPER, best_views=View.parse_all(named)) if named else PAPER
    return config.with_inference(settings.inference or "paper").views


def _by_cache(folder: Path, datasets: Mapping[str, Dataset]) -> dict[Path, list[ImageRecord]]:
    """Folder of a cache -> its images; ids are unique in each."""
    first: dict[str, ImageRecord] = {}
    caches: dict[Path, list[ImageRecord]] = {}
    for split, dataset in datasets.items():
        own = own_cache(folder, split)
        if own.is_dir() or any(r.id in first and _differ(first[r.id].path, r.path) for r in dataset):
            caches[own] = list(dataset)
        else:
            first |= {r.id: r for r in dataset if r.id not in first}
    whole = {folder: list(first.values())} | caches
    return {part: records for part, records in whole.items() if records}


def _differ(a: Path, b: Path) -> bool:
    return a != b and a.read_bytes() != b.read_bytes()


def _remove_doubtful(cache: FeatureCache, records: Sequence[ImageRecord]) -> None:
    """Delete maps that may be of another split's photos with the same ids: those without a record of their photos."""
    known = PhotoRecord(cache.photos).known
    for record in records:
        if record.id not in known:
            cache.remove(record.id)


def own_cache(folder: Path, split: str) -> Path:
    """Folder of a split that has a cache of its own, within that of the others."""
    return folder / f"split-{quote(split, safe='')}"


def _fill(
    cache: FeatureCache, records: Sequence[ImageRecord], convolver: Convolver, engine: Engine | None
) -> dict[str, str]:
    """Convolve the images that are not in the cache; return id -> reason of those that are left out.

    Without an engine, this process does it: on a CPU every thread convolves an image of its own, which is faster than
    all threads on one image.
    """
    remove_leftovers(cache.root)
    _remove_changed(cache, records)
    todo = [record for record in records if record.id not in cache]
    bad: dict[str, str] = {}
    with progress(len(records), len(records) - len(todo), "img", "features") as bar, ExitStack() as stack:
        if engine is None:
            engine = ThisProcess(convolver.threads)
            if convolver.threads > 1:
                stack.enter_context(parallel.single_threaded_torch())
        done = stack.enter_context(closing(engine.map(convolver, todo)))
        for number, (record, outcome) in enumerate(memory.kept_flat(done)):
            if number == min(MEASURED_IMAGES, len(todo) - 1) > 0:
                size = cache.bytes_per_image()
                log.info("disk: %s", estimate(size, len(records)))
                check_space(cache.root, size, len(todo) - number)
            if (why := reason_of(record, outcome, convolver.skip_bad)) is not None:
                bad[record.id] = why
            bar.update()
    return bad


def _remove_changed(cache: FeatureCache, records: Sequence[ImageRecord]) -> None:
    """Delete the maps of photos that were replaced, and note what the photos are now."""
    photos = PhotoRecord(cache.photos)
    now = photos.look(records)
    changed = [image_id for image_id in photos.changed(now) if image_id in cache]
    if changed:
        log.info("%d of %d photos changed since they were convolved; convolving them again", len(changed), len(records))
    for image_id in changed:
        cache.remove(image_id)
    photos.note(now)


def open_features(
    run: Run,
    split: str,
    name: str,
    config: Config,
    weights: str | None = None,
    view: View | None = None,
    further: str = "",
) -> FeatureCache:
    """Open the run's cache of one view of a split's images, of one network at some scales.

    Args:
        run: holds the cache.
        split: of the data set.
        name: of the network.
        config: scales of the training and precision.
        weights: hash that the network's weights must have; None: any.
        view: None: the images as they are.
        further: what makes features of the view, besides network and scales: settings of `extract-features`.

    Raises:
        FileNotFoundError: there is no cache of this network and view at these scales.
        ValueError: it is of other weights.
    """
    view = view or View()
    folder = run.features(name, config, view)
    if not (folder / "manifest.json").is_file():
        raise FileNotFoundError(
            f"{folder}: no such features; run `sppnet stage extract-features` with the same --backbone, --scales and "
            f"--precision{f', and {further}' if further and view != View() else ''}"
        )
    if (own := own_cache(folder, split)).is_dir():
        folder = own
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
        ValueError: an image has none, and the run does not skip unusable images; or a photo was replaced since.
    """
    refuse_changed(cache.photos, dataset, "features")
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
