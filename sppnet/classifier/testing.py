"""Errors of a run's classifier on labelled photos, view by view."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classification import evaluation
from classification.classifier import SPPClassifier
from classification.photos import read
from classification.views import View
from data import class_folders
from data.class_folders import LabelledPhotos
from detection import parallel
from detection.memory import kept_flat
from sppnet.classifier.photos import CLASSIFIER, limited
from sppnet.classifier.training_record import read_record
from sppnet.progress import progress
from sppnet.settings.classifier import ClassifierTestSettings

FIVE = 5


@dataclass(frozen=True)
class ViewErrors:
    """Errors of a classifier with one view.

    Attributes:
        view: what the network saw of the photos.
        top1, top5: share of the photos, in [0, 1], whose class has not the highest score, or none of the highest five.
        seconds: mean time per photo, without decoding.
    """

    view: View
    top1: float
    top5: float
    seconds: float

    def summary(self) -> dict[str, Any]:
        """Plain values for json; errors in percent."""
        return {"top1_error": 100 * self.top1, "top5_error": 100 * self.top5, "seconds_a_photo": self.seconds}


def load_classifier(settings: ClassifierTestSettings) -> SPPClassifier:
    """Load the classifier of the run folder.

    Raises:
        FileNotFoundError: the run holds none.
        ValueError: it is damaged, or the weights belong to another network.
        OSError: the weights cannot be read or fetched.
    """
    s = settings
    weights = s.weights or "pretrained"
    return SPPClassifier.from_pretrained(s.run / CLASSIFIER, device=s.device, weights=weights, precision=s.precision)


def photos_to_test(settings: ClassifierTestSettings, classifier: SPPClassifier) -> LabelledPhotos:
    """Return the photos that the settings name, or those that were held out in the classifier's training.

    Raises:
        FileNotFoundError: the settings name no photos, and none were held out; or there is no such folder.
        ValueError: no folder is of a class that the classifier knows, or the training's record is damaged.
    """
    s = settings
    if s.data:
        names = class_folders.splits(s.data)
        return limited(class_folders.from_folder(s.data / names[1] if names else s.data, classifier.classes), s.limit)
    notes = classifier.model.notes if classifier.model else {}
    record = read_record(s.run, notes.get("training"))
    if record is None:
        raise FileNotFoundError(f"{s.run}: no record of held-out photos; give --data with photos to test on")
    paths, labels = zip(*record["test"], strict=True)
    truth = class_folders.one_class(np.array(labels, np.int64), len(classifier.classes))
    return limited(LabelledPhotos("held out", classifier.classes, tuple(map(Path, paths)), truth), s.limit)


def test_views(
    settings: ClassifierTestSettings, classifier: SPPClassifier, photos: LabelledPhotos
) -> Iterator[ViewErrors]:
    """Classify all photos with one view after the other.

    Args:
        settings: views, and the short side of photos.
        classifier: the one to test.
        photos: with one class each.

    Raises:
        ValueError: a view needs larger photos, the network does not take it, or a photo cannot be used.
        OSError: a photo cannot be read.
    """
    for view in [View(kind, settings.short_side) for kind in settings.views]:
        scores, seconds = _scores(classifier, photos, view)
        top1, top5 = (1 - evaluation.top_accuracy(scores, photos.labels, n) for n in (1, FIVE))
        yield ViewErrors(view, top1, top5, seconds)


test_views.__test__ = False  # type: ignore[attr-defined]  # not a test case, despite its name


def _scores(classifier: SPPClassifier, photos: LabelledPhotos, view: View) -> tuple[NDArray[np.float32], float]:
    """float32 (N, K), and the mean seconds per decoded photo."""
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
