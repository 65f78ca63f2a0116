"""Training and evaluation from Python: what `sppnet.train_detector`, `train_classifier` and `evaluate` do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from data.records import Dataset
from detection.detections import Detections
from detection.detector import SPPDetector
from detection.evaluation import voc
from detection.evaluation.voc import EvaluationResult
from sppnet.run import DataSource, Run
from sppnet.settings import ClassifierSettings, NetworkTrainingSettings, TrainSettings
from sppnet.settings.shared import DatasetSettings, Metric
from sppnet.storage import on_this_machine

if TYPE_CHECKING:
    from classification.classifier import SPPClassifier

Data = str | os.PathLike[str]


def train_detector(
    data: Data, *, run: Data | None = None, settings: TrainSettings | None = None, images: Data | None = None
) -> SPPDetector:
    """Train a detector on labelled photos and test it. Finished stages of the run folder are not repeated.

    Args:
        data: labelled photos: a folder or file in the format of VOC, COCO, YOLO, CSV or a labelling tool, or the URL of
            a folder. Data without splits is split automatically.
        run: folder that keeps everything, or its URL; None: that of the settings, or else runs/NAME of the data set.
        settings: of all stages; None: the defaults of `sppnet train`.
        images: folder of the photos; None: that of the settings, or else the data set.

    Returns:
        the detector. `detector.scores` maps "windows" (before box regression) and, with box regression, "regressed"
        to their scores on the test split: mean_ap, ap per class, coco. The model folder is `RUN/model`.

    Raises:
        FileNotFoundError: there is no such data set.
        OSError, ValueError: the data cannot be used, or the settings do not fit it.
        RuntimeError: another process is working on the run.

    Examples:
        >>> detector = sppnet.train_detector("my_photos", settings=TrainSettings(scales=(480,)))  # doctest: +SKIP
        >>> detector.scores["regressed"]["mean_ap"]  # doctest: +SKIP
    """
    from sppnet.detector.training import resolve_precision, train_and_test

    chosen = replace(settings or TrainSettings(), path=None, data=Path(data), voc2007=False, devkit=None)
    chosen = chosen if run is None else replace(chosen, run=Path(run))
    chosen = resolve_precision(chosen if images is None else replace(chosen, images=Path(images)))
    with on_this_machine(chosen) as (here, _):
        training = train_and_test(Run.open(here), here)
        detector = SPPDetector.from_pretrained(training.model, device=here.device, weights=here.weights or "pretrained")
    detector.scores = MappingProxyType(training.scores.summary())
    return detector


def train_classifier(
    data: Data, *, run: Data | None = None, settings: ClassifierSettings | NetworkTrainingSettings | None = None
) -> SPPClassifier:
    """Train an image classifier on one folder of photos per class and test it.

    Args:
        data: a folder with one folder of photos per class, or with train and test folders of such folders.
        run: folder that keeps everything; None: that of the settings, or else runs/NAME-classification.
        settings: `ClassifierSettings` trains linear SVMs on a pretrained network, in seconds to minutes;
            `NetworkTrainingSettings` trains a network by gradient descent. None: the former with its defaults.

    Returns:
        the classifier. `classifier.scores` holds its test scores. For SVMs: "accuracies", "mean" and "deviation" over
        random divisions of the photos, or "accuracy" and "mean_class_accuracy" on a test folder. For a network:
        "accuracy" and "loss" on centre crops of the held-out photos. The classifier's folder is `RUN/classifier`.

    Raises:
        FileNotFoundError: there is no such folder.
        OSError, ValueError: the photos cannot be used, or the settings do not fit them.
        RuntimeError: another process is working on the run.
    """
    from sppnet.classifier.training import train_and_test

    chosen = replace(settings or ClassifierSettings(), data=Path(data))
    with on_this_machine(chosen if run is None else replace(chosen, run=Path(run))) as (here, _):
        return train_and_test(here)


def evaluate(
    detector: SPPDetector | Mapping[str, Detections],
    data: Data | Dataset,
    *,
    split: str | None = None,
    metric: Metric = "voc07",
    iou_threshold: float = 0.5,
    images: Data | None = None,
) -> EvaluationResult:
    """Average precision of a detector on labelled photos.

    Objects of classes that the detector does not know are left out, with a warning that counts them; detections on
    them are false positives.

    Args:
        detector: a detector, or detections as a mapping from image id.
        data: labelled photos as `train_detector` takes them, or a `Dataset`.
        split: of the data; None: test, or val.
        metric: "voc07" (11 points) or "area".
        iou_threshold: lowest overlap of a correct detection.
        images: folder of the photos; None: they are in the data set.

    Returns:
        `ap` per class, `mean_ap`, precision and recall curves.

    Raises:
        FileNotFoundError: there is no such data set.
        ValueError: a `Dataset` has other classes or another order of classes than the detector, or a photo cannot be
            read.
    """
    if not isinstance(data, Dataset):
        named = DatasetSettings(data=Path(data), images=None if images is None else Path(images))
        with on_this_machine(named) as (here, _):
            source = DataSource.of(here)
            dataset = source.load(split or source.usual_split("test"), _classes_of(detector))
            return evaluate(detector, dataset, metric=metric, iou_threshold=iou_threshold)
    classes, dataset = _classes_of(detector), data
    if classes and dataset.classes != classes:
        raise ValueError(
            f"{dataset.name}: classes {', '.join(dataset.classes)}; expected those of the detector, "
            f"{', '.join(classes)}; load the data set with classes=detector.classes"
        )
    found = detect_all(detector, dataset) if isinstance(detector, SPPDetector) else detector
    return voc.evaluate(found, dataset, iou_threshold, metric, classes)


def detect_all(detector: SPPDetector, dataset: Dataset) -> dict[str, Detections]:
    """Image id -> detections of every photo of a data set.

    Raises:
        ValueError: a photo cannot be read.
    """
    ids = {record.path: record.id for record in dataset}
    found: dict[str, Detections] = {}
    for detections in detector.detect_many(ids):
        assert isinstance(detections.photo, Path)
        found[ids[detections.photo]] = detections
    return found


def _classes_of(detector: SPPDetector | Mapping[str, Detections]) -> tuple[str, ...] | None:
    """Class names in label order; None if detections do not state them."""
    if isinstance(detector, SPPDetector):
        return detector.classes
    return next((found.classes for found in detector.values() if found.classes), None)
