"""SVMs of a run's photos: VOC 2007's and Caltech-101's protocols, and that of anybody's photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification import evaluation, linear
from classification.model import Model
from classification.views import View
from data import labelled
from data.labelled import LabelledPhotos

from .common import Options
from .labelled import ALL, halves
from .logs import log, progress
from .representing import extractor_of, represent

CALTECH = (30, 50)  # photos of a class to train on, and at most to test on; section 3.3
SHARE = 0.5  # to train on, of anybody's photos
CLASSIFIER = "classifier"


def train_and_test(o: Options, folder: Path, splits: dict[str, LabelledPhotos]) -> dict[str, Any]:
    """Figures of the SVMs, and a classifier of all training photos."""
    extractor = extractor_of(o)
    vectors = represent(o, folder, extractor, splits, [o.layer])
    rows = {split: arrays[o.layer] for split, arrays in vectors.items()}
    if o.voc2007:
        result, svms = _multi_label(o, splits, rows)
    elif ALL in splits:
        result, svms = _divisions(o, splits[ALL], rows[ALL])
    else:
        result, svms = _one_split(o, splits, rows)
    photos = next(iter(splits.values()))
    notes = {"data": photos.name, "photos": len(photos), "backbone": o.backbone, "cost": o.cost}
    own = bool(extractor.head)  # of a classifier that was trained here
    model = Model(photos.classes, extractor, svms, o.layer, View(o.view, o.short_side), own, notes)
    model.save(folder / CLASSIFIER)
    print(f"the classifier: {folder / CLASSIFIER}")
    print(f"use it: sppnet-predict PHOTOS --model {folder / CLASSIFIER}")
    return result


def _multi_label(
    o: Options, splits: dict[str, LabelledPhotos], rows: dict[str, NDArray[np.float32]]
) -> tuple[dict[str, Any], linear.LinearClassifier]:
    """VOC 2007: average precision of each class."""
    (train, test), (seen, unseen) = splits.values(), rows.values()
    svms = linear.fit(seen, train.truth, o.cost, o.seed)
    ap = evaluation.class_ap(svms(unseen), test.truth, o.metric)
    for name, value in zip(test.classes, ap, strict=True):
        print(f"{name:15s}{100 * value:6.1f}")
    print(f"{'mAP':15s}{100 * np.nanmean(ap):6.1f}  {train.name} -> {test.name}")
    return {"ap": dict(zip(test.classes, ap.tolist(), strict=True)), "mean_ap": float(np.nanmean(ap))}, svms


def _one_split(
    o: Options, splits: dict[str, LabelledPhotos], rows: dict[str, NDArray[np.float32]]
) -> tuple[dict[str, Any], linear.LinearClassifier]:
    """Photos that are divided."""
    (train, test), (seen, unseen) = splits.values(), rows.values()
    svms = linear.fit(seen, train.truth, o.cost, o.seed)
    scores = svms(unseen)
    accuracy, of_class = (
        evaluation.top_accuracy(scores, test.labels),
        evaluation.mean_class_accuracy(scores, test.labels),
    )
    print(f"{100 * accuracy:.1f} % of {len(test)} test photos right, mean over the classes {100 * of_class:.1f} %")
    return {"accuracy": accuracy, "mean_class_accuracy": of_class}, svms


def _divisions(
    o: Options, photos: LabelledPhotos, rows: NDArray[np.float32]
) -> tuple[dict[str, Any], linear.LinearClassifier]:
    """Photos that are not: several random divisions, then all photos for the classifier that is kept."""
    n_train, n_test = (o.train or CALTECH[0], o.test or CALTECH[1]) if o.caltech101 else (o.train, o.test)
    place = {path: i for i, path in enumerate(photos.paths)}
    found = []
    with progress(o.divisions, 0, "division", "SVMs") as bar:
        for number in range(o.divisions):
            seed = o.seed + number
            parts = labelled.divide(photos, n_train, n_test, seed) if n_train else halves(photos, SHARE, seed)
            seen, unseen = ([place[path] for path in part.paths] for part in parts)
            svms = linear.fit(rows[seen], parts[0].truth, o.cost, seed)
            found.append(evaluation.mean_class_accuracy(svms(rows[unseen]), parts[1].labels))
            bar.update()
    mean, deviation = float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else 0.0
    print(f"{100 * mean:.2f} +- {100 * deviation:.2f} % mean accuracy a class, {len(found)} random divisions")
    log.info("the classifier that is kept learns from all %d photos", len(photos))
    figures = {"accuracies": found, "mean": mean, "deviation": deviation}
    return figures, linear.fit(rows, photos.truth, o.cost, o.seed)
