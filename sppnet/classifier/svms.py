"""SVMs of a run's photos: VOC 2007's and Caltech-101's protocols, and that of anybody's photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tools.common import Options, exclusive

from classification import evaluation, linear_classifier
from classification.model import Model, notes_of
from classification.views import View
from data import class_folders
from data.class_folders import LabelledPhotos
from sppnet.classifier.photos import ALL, halves, refuse
from sppnet.classifier.representations import extractor_of, represent
from sppnet.progress import log, progress

CALTECH = (30, 50)  # photos of a class to train on, and at most to test on; section 3.3
SHARE, DIVISIONS = 0.5, 10  # to train on, of anybody's photos; and how often they are divided
CLASSIFIER = "classifier"


def train_and_test(o: Options, folder: Path, splits: dict[str, LabelledPhotos]) -> dict[str, Any]:
    """Figures of the SVMs, and a classifier of all training photos.

    Raises:
        ValueError: the photos or the flags do not do, or the run's classifier is a trained network.
        RuntimeError: another process is at work on it.
        OSError: a file cannot be read or written.
    """
    if ALL not in splits:
        refuse(o, "the photos are divided already", "train", "test", "divisions")
        _check_classes(next(iter(splits.values())))
    else:
        _divided(o, splits[ALL], o.seed)  # told now if that cannot be
    with exclusive(folder / CLASSIFIER):
        if not o.overwrite and "training" in (notes_of(folder / CLASSIFIER) or {}):
            raise ValueError(f"{folder / CLASSIFIER}: a trained network; give another --run, or --overwrite")
        return _train_and_test(o, folder, splits)


def _check_classes(photos: LabelledPhotos) -> None:
    """Refuse a class that nothing can be learned of, before the network is asked."""
    for name, column in zip(photos.classes, photos.truth.T, strict=True):
        there, count = int((column == 1).sum()), int((column != 0).sum())
        if there in (0, count):
            raise ValueError(f"{photos.name}: {name} is in {there} of {count} photos; needs some with it, some without")


def _train_and_test(o: Options, folder: Path, splits: dict[str, LabelledPhotos]) -> dict[str, Any]:
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
) -> tuple[dict[str, Any], linear_classifier.LinearClassifier]:
    """VOC 2007: average precision of each class."""
    (train, test), (seen, unseen) = splits.values(), rows.values()
    svms = linear_classifier.fit(seen, train.truth, o.cost, o.seed)
    ap = evaluation.class_ap(svms(unseen), test.truth, o.metric or "voc07")
    for name, value in zip(test.classes, ap, strict=True):
        print(f"{name:15s}{100 * value:6.1f}")
    print(f"{'mAP':15s}{100 * np.nanmean(ap):6.1f}  {train.name} -> {test.name}")
    return {"ap": dict(zip(test.classes, ap.tolist(), strict=True)), "mean_ap": float(np.nanmean(ap))}, svms


def _one_split(
    o: Options, splits: dict[str, LabelledPhotos], rows: dict[str, NDArray[np.float32]]
) -> tuple[dict[str, Any], linear_classifier.LinearClassifier]:
    """Photos that are divided."""
    (train, test), (seen, unseen) = splits.values(), rows.values()
    svms = linear_classifier.fit(seen, train.truth, o.cost, o.seed)
    scores = svms(unseen)
    accuracy, of_class = (
        evaluation.top_accuracy(scores, test.labels),
        evaluation.mean_class_accuracy(scores, test.labels),
    )
    print(f"{100 * accuracy:.1f} % of {len(test)} test photos right, mean over the classes {100 * of_class:.1f} %")
    return {"accuracy": accuracy, "mean_class_accuracy": of_class}, svms


def _divisions(
    o: Options, photos: LabelledPhotos, rows: NDArray[np.float32]
) -> tuple[dict[str, Any], linear_classifier.LinearClassifier]:
    """Photos that are not: several random divisions, then all photos for the classifier that is kept."""
    place = {path: i for i, path in enumerate(photos.paths)}
    found, divisions = [], o.divisions or DIVISIONS
    with progress(divisions, 0, "division", "SVMs") as bar:
        for number in range(divisions):
            seed = o.seed + number
            parts = _divided(o, photos, seed)
            seen, unseen = ([place[path] for path in part.paths] for part in parts)
            svms = linear_classifier.fit(rows[seen], parts[0].truth, o.cost, seed)
            found.append(evaluation.mean_class_accuracy(svms(rows[unseen]), parts[1].labels))
            bar.update()
    mean, deviation = float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else 0.0
    print(f"{100 * mean:.2f} +- {100 * deviation:.2f} % mean accuracy a class, {len(found)} random divisions")
    log.info("the classifier that is kept learns from all %d photos", len(photos))
    figures = {"accuracies": found, "mean": mean, "deviation": deviation}
    return figures, linear_classifier.fit(rows, photos.truth, o.cost, o.seed)


def _divided(o: Options, photos: LabelledPhotos, seed: int) -> tuple[LabelledPhotos, LabelledPhotos]:
    """Photos to train on, and to test on."""
    n_train, n_test = (o.train or CALTECH[0], o.test or CALTECH[1]) if o.caltech101 else (o.train, o.test)
    return class_folders.divide(photos, n_train, n_test, seed) if n_train else halves(photos, SHARE, seed, n_test)
