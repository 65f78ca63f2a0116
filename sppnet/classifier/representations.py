"""Vectors of a run's photos: one array per split and layer, which an interrupted run continues."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from classification.classifier import SPPClassifier
from classification.extractor import Extractor, Layer
from classification.model import MODEL
from classification.representations import Representations, Rows
from classification.views import View
from data.class_folders import LabelledPhotos
from sppnet.classifier.photos import run_folder
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
        settings: view, run folder, overwrite.
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
    for split, photos in splits.items():
        part = f"{split}-limit-{settings.limit}" if settings.limit else split  # a trial leaves the vectors of all alone
        folder = run_folder(settings) / "representations" / _folder_name(settings, view) / part
        with exclusive(folder):
            if settings.overwrite:
                shutil.rmtree(folder, ignore_errors=True)
            rows = Representations(folder, extractor, view, photos.paths)
            done = rows.has(layers)
            if done:
                log.info("%s: vectors are computed already", folder)
            with progress(0 if done else len(photos), 0, "img", split) as bar:
                found[split] = rows.get(layers, bar.update)
    return found


def _folder_name(s: VectorSettings, view: View) -> str:
    """Folder of one network's vectors of one view, as alexnet-full-224."""
    network = Path(s.backbone).resolve().parent.name if (Path(s.backbone) / MODEL).is_file() else s.backbone
    precision = "-bf16" if s.precision == "bf16" else ""
    return f"{network}-{view}{precision}".replace(" ", "-").replace(":", "-")
