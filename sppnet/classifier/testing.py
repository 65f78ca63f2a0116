"""A classifier's errors on labelled photos, view by view."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tools.common import Options

from classification import SPPClassifier, evaluation
from classification.photos import read
from classification.views import View
from data import class_folders
from data.class_folders import LabelledPhotos
from detection import parallel
from detection.memory import kept_flat
from sppnet.classifier.network_training import CLASSIFIER, settings_of
from sppnet.classifier.photos import limited
from sppnet.progress import progress

FIVE = 5


def test(o: Options) -> dict[str, Any]:
    """Top-1 and top-5 errors and seconds a photo."""
    classifier = SPPClassifier.from_pretrained(
        o.run / CLASSIFIER, device=o.device, weights=o.weights or "pretrained", precision=o.precision
    )
    photos = _photos(o, classifier)
    views = [View(kind, o.short_side) for kind in o.views]
    print(f"{len(photos)} photos, {len(photos.classes)} classes: {o.run / CLASSIFIER}")
    print(f"{'view':12s}{'top-1 error':>12s}{'top-5 error':>12s}{'s a photo':>11s}")
    found = {}
    for view in views:
        scores, seconds = _scores(classifier, photos, view)
        errors = [100 * (1 - evaluation.top_accuracy(scores, photos.labels, n)) for n in (1, FIVE)]
        found[str(view)] = {"top1_error": errors[0], "top5_error": errors[1], "seconds_a_photo": seconds}
        print(f"{view!s:12s}{errors[0]:12.2f}{errors[1]:12.2f}{seconds:11.4f}")
    return found


def _scores(classifier: SPPClassifier, photos: LabelledPhotos, view: View) -> tuple[NDArray[np.float32], float]:
    """float32 (N, K), and the mean seconds that one photo takes, once decoded."""
    found, spent = [], 0.0
    with progress(len(photos), 0, "img", str(view)) as bar:
        for path, photo in kept_flat(parallel.ahead(read, photos.paths)):
            pixels = photo.result()
            started = time.perf_counter()
            try:
                found.append(classifier.classify(pixels, view).scores)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
            spent += time.perf_counter() - started
            bar.update()
    return np.array(found), spent / len(photos)


def _photos(o: Options, classifier: SPPClassifier) -> LabelledPhotos:
    """The photos of --data that are for testing, or those held out in training."""
    if o.data:
        names = class_folders.splits(o.data)
        photos = class_folders.from_folder(o.data / names[1] if names else o.data, classifier.classes)
        return limited(photos, o.limit)
    notes = classifier.model.notes if classifier.model else {}
    settings = settings_of(o.run, notes.get("training"))
    if settings is None:
        raise FileNotFoundError(f"{o.run}: no record of held-out photos; say with --data what to test on")
    paths, labels = zip(*settings["test"], strict=True)
    truth = class_folders.one_class(np.array(labels, np.int64), len(classifier.classes))
    return limited(LabelledPhotos("held out", classifier.classes, tuple(map(Path, paths)), truth), o.limit)
