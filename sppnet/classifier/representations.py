"""Vectors of the photos of a run."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tools.common import Options, exclusive, positive

from classification import SPPClassifier
from classification.extractor import Extractor
from classification.model import MODEL
from classification.representations import Representations
from classification.views import View
from data.class_folders import LabelledPhotos
from sppnet.progress import log, progress

Vectors = dict[str, dict[str, NDArray[np.float32]]]  # split -> layer -> (N, D)
VIEWS = ("crop", "warp", "full", "ten")


def flags(p: argparse.ArgumentParser) -> None:
    """Which network, and how it looks at a photo."""
    p.add_argument(
        "--backbone",
        default="lite0",
        metavar="NAME|DIR",
        help="alexnet, vgg16, lite0, lite2, torchvision:NAME, timm:NAME, or a trained classifier (%(default)s)",
    )
    p.add_argument("--view", choices=VIEWS, default="full", help="of a photo (%(default)s)")
    p.add_argument("--short-side", type=positive, default=224, help="pixels that it is resized to (%(default)s)")


def extractor_of(o: Options) -> Extractor:
    """The network that the flags name."""
    classifier = SPPClassifier.from_pretrained(
        o.backbone, device=o.device, weights=o.weights or "pretrained", precision=o.precision
    )
    return classifier.extractor


def represent(
    o: Options, folder: Path, extractor: Extractor, splits: dict[str, LabelledPhotos], layers: list[Any]
) -> Vectors:
    """The vectors of all splits; what the run has is read."""
    view = View(o.view, o.short_side)
    for layer in layers:
        extractor.check(layer)
    found: Vectors = {}
    for split, photos in splits.items():
        part = f"{split}-limit-{o.limit}" if o.limit else split  # a trial does not take the place of the whole
        place = folder / "representations" / name_of(o, view) / part
        with exclusive(place):
            if o.overwrite:
                shutil.rmtree(place, ignore_errors=True)
            rows = Representations(place, extractor, view, photos.paths)
            if rows.has(layers):
                log.info("%s: made already", place)
            with progress(0 if rows.has(layers) else len(photos), 0, "img", split) as bar:
                found[split] = rows.get(layers, bar.update)  # type: ignore[assignment]
    return found


def name_of(o: Options, view: View) -> str:
    """Folder of one network's vectors of one view: alexnet-full-224."""
    network = Path(o.backbone).resolve().parent.name if (Path(o.backbone) / MODEL).is_file() else o.backbone
    precision = "-bf16" if o.precision == "bf16" else ""
    return f"{network}-{view}{precision}".replace(" ", "-").replace(":", "-")
