"""Vectors of a run's photos: one array per split and layer, which an interrupted run continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from classification.classifier import SPPClassifier
from classification.extractor import Extractor, Layer
from classification.model import MODEL
from classification.representations import Representations, remove
from classification.vector_files import Rows
from classification.views import View
from data.class_folders import LabelledPhotos
from sppnet.classifier.photos import run_folder
from sppnet.engines import engine_of
from sppnet.progress import log, progress
from sppnet.run import exclusive
from sppnet.settings.classifier import VectorSettings

Vectors = dict[str, dict[Layer, Rows]]
"""Split -> layer -> float32 (N, D), an array on disk with one row of length 1 per photo."""


def load_extractor(settings: VectorSettings) -> Extractor:
    """Load the network that the settings name.

    Raises:
        FileNotFoundError: there is no such network or classifier.
        OSError, ValueError: its weights cannot be read or fetched, or are of another network.
    """
    s = settings
    weights = s.weights or "pretrained"
    return SPPClassifier.from_pretrained(s.backbone, device=s.device, weights=weights, precision=s.precision).extractor


def represent(
    settings: VectorSettings, extractor: Extractor, splits: Mapping[str, LabelledPhotos], layers: Sequence[Layer]
) -> Vectors:
    """Compute the vectors of all splits, or read those that the run holds.

    Args:
        settings: view, run folder, overwrite, engine.
        extractor: the network.
        splits: split -> photos.
        layers: layers of the network.

    Raises:
        ValueError: the network has no such layer, photos cannot be used, or the run holds vectors of other settings.
        RuntimeError: another process is computing these vectors.
        OSError: a file cannot be read or written.
    """
    view = View(settings.view, settings.short_side)
    for layer in layers:
        extractor.check(layer)
    found: Vectors = {}
    folders = {split: _folder(settings, view, split) for split in splits}
    for folder in folders.values() if settings.overwrite else ():
        with exclusive(folder):
            remove(folder)  # of all splits, so that this command, if interrupted, continues without --overwrite
    for split, photos in splits.items():
        with exclusive(folders[split]):
            rows = Representations(folders[split], extractor, view, photos.paths, engine_of(settings, settings.device))
            done = rows.has(layers)
            if done:
                log.info("%s: vectors are computed already", folders[split])
            with progress(0 if done else len(photos), 0, "img", split) as bar:
                found[split] = rows.get(layers, bar.update)
    return found


def _folder(s: VectorSettings, view: View, split: str) -> Path:
    """Folder of a split's vectors; a trial with few photos leaves those of all alone."""
    part = f"{split}-limit-{s.limit}" if s.limit else split
    return run_folder(s) / "representations" / _folder_name(s, view) / part


def _folder_name(s: VectorSettings, view: View) -> str:
    """Folder of one network's vectors of one view, as alexnet-full-224."""
    network = Path(s.backbone).resolve().parent.name if (Path(s.backbone) / MODEL).is_file() else s.backbone
    precision = "-bf16" if s.precision == "bf16" else ""
    return f"{network}-{view}{precision}".replace(" ", "-").replace(":", "-")
