"""Proposals of a run: searched once, read by every later stage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.records import Dataset
from proposals import grid, io, sources
from proposals.batch import compute, photos_file
from sppnet.detector.photos import refuse_changed
from sppnet.detector.small_objects import advice
from sppnet.engines import engine_of
from sppnet.progress import log, shows_progress
from sppnet.run import DEFAULT_PROPOSALS, Run, exclusive, names_file
from sppnet.settings.detector import ProposalSettings, SearchSettings

Boxes = NDArray[np.float32]


def extract_proposals(run: Run, split: str, settings: SearchSettings) -> tuple[Dataset, dict[str, str]]:
    """Search the images of a split that have no proposals yet, or were replaced since.

    A warning tells of objects that are too small for the search.

    Args:
        run: keeps the proposals.
        split: of the data set.
        settings: source, limits, engine.

    Returns:
        the images, and id -> reason of those left out on request.

    Raises:
        OSError, ValueError: an image cannot be used, or the run holds proposals of other settings.
        RuntimeError: another process is searching this split.
    """
    dataset, s = run.dataset(split), settings
    if s.proposals and names_file(s.proposals):
        return dataset, dataset.bad
    search = search_of(s, run)
    told = advice(dataset, search)
    if told:
        log.warning("%s", told)
    path = run.proposals(split, s, search.source)
    with exclusive(path):
        if s.overwrite or _of_another_grid(path, search):
            _remove(path)
        workers, engine = 1 if s.engine == "local" else s.workers or os.cpu_count() or 1, engine_of(s)
        bad = compute(
            dataset, path, search, workers=workers, engine=engine, skip_bad=run.skip_bad, progress=shows_progress()
        )
    log.info("proposals of %s: %s", dataset.name, path)
    return dataset, dataset.bad | bad


def discard_proposals(run: Run, splits: Iterable[str], settings: SearchSettings) -> None:
    """Delete the proposals of all splits for --overwrite, so that an interrupted command continues without it.

    Args:
        run: keeps the proposals.
        splits: that are searched next.
        settings: source.

    Raises:
        RuntimeError: another process is searching a split.
    """
    if settings.proposals and names_file(settings.proposals):
        return
    for split in splits:
        path = run.proposals(split, settings, settings.proposals or DEFAULT_PROPOSALS)
        with exclusive(path):
            _remove(path)


def _remove(path: Path) -> None:
    """Delete a file of proposals, its parts and its record of photos."""
    path.unlink(missing_ok=True)
    shutil.rmtree(path.with_name(f"{path.name}.parts"), ignore_errors=True)
    photos_file(path).unlink(missing_ok=True)


def search_of(settings: SearchSettings, run: Run | None = None) -> sources.ProposalSettings:
    """The search that settings without a file of boxes ask for.

    Args:
        settings: source and limits.
        run: whose training objects a grid takes its shapes from.

    Raises:
        ValueError: there are no such objects.
    """
    s, source = settings, settings.proposals or DEFAULT_PROPOSALS
    learned = None
    if run is not None and sources.GRID in source.split("+"):
        records = run.train.records
        learned = grid.learn([r.boxes for r in records], [r.size for r in records], s.seed)
    return sources.ProposalSettings(source, s.max_boxes, s.min_side, s.max_side, s.seed, learned)


def _of_another_grid(path: Path, search: sources.ProposalSettings) -> bool:
    """Whether a file holds windows of other shapes, as when training objects were added, and else of these settings."""
    if search.grid is None or not path.is_file():
        return False
    there, asked = io.load(path)[1], search.meta
    different = {name for name in asked if there.get(name) != asked[name]}
    if different == {sources.GRID}:
        log.info("%s: the training objects have other shapes now; laying the grid anew", path)
    return different == {sources.GRID}


def load_proposals(
    run: Run, dataset: Dataset, split: str, settings: ProposalSettings, made: Mapping[str, Any] | None = None
) -> tuple[dict[str, Boxes], dict[str, Any]]:
    """Read the proposals of a split.

    Args:
        run: holds the proposals.
        dataset: the images.
        split: their split.
        settings: which source or file, and how many boxes per image.
        made: how the proposals that a model was trained on were made; they are the default.

    Returns:
        image id -> float32 (R, 4) image pixels, best first; and how they were made.

    Raises:
        FileNotFoundError: there are none of this split.
        ValueError: the file is damaged, a photo was replaced since, or the run has several sources and none is named.
    """
    path = run.proposals(split, settings, (made or {}).get("source"))
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no proposals of this split; run `sppnet stage extract-features`, or extract-proposals"
        )
    refuse_changed(photos_file(path), dataset, "proposals")
    log.info("reading %s", path)
    proposals, meta = io.load(path, names=coco_names(dataset))
    limit = settings.max_boxes or (made or {}).get("max_boxes")
    read = {**(meta or {"file": path.name}), "max_boxes": limit or meta.get("max_boxes")}
    if made and read != made:
        log.warning("%s: made with %s, but the model was trained on proposals made with %s", path, read, made)
    return {name: boxes[:limit] for name, boxes in proposals.items()}, read


def coco_names(dataset: Dataset) -> dict[str, str]:
    """Id of each image in its COCO file, as text -> id of the image, for files of boxes that are COCO results."""
    return {str(record.file_id): record.id for record in dataset if record.file_id is not None}
