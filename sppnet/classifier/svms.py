"""Linear SVMs on vectors of a run's photos, by the protocols of VOC 2007 and Caltech-101 or on any photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from classification import evaluation, linear_classifier
from classification.extractor import Extractor
from classification.linear_classifier import LinearClassifier
from classification.model import MODEL, Model, notes_of
from classification.vector_files import Rows
from classification.views import View
from data import class_folders
from data.class_folders import LabelledPhotos
from sppnet.classifier.photos import ALL, CLASSIFIER, divide_by_share, photos_of_benchmark, refuse, run_folder
from sppnet.classifier.representations import load_extractor, represent
from sppnet.classifier.scores import DivisionScores, PrecisionScores, Scores, SplitScores
from sppnet.progress import log, progress
from sppnet.run import exclusive, set_aside
from sppnet.settings.classifier import ClassifierSettings

CALTECH = (30, 50)  # photos per class to train on, and at most to test on; section 3.3
SHARE, DIVISIONS = 0.5, 10  # of any photos: share to train on, number of random divisions
Splits = Mapping[str, LabelledPhotos]


@dataclass(frozen=True, eq=False)
class TrainedSVMs:
    """The result of SVM training.

    Attributes:
        folder: holds the classifier.
        model: the classifier, trained on all training photos.
        scores: on the test photos, or over random divisions.
    """

    folder: Path
    model: Model
    scores: Scores


def train_svms(settings: ClassifierSettings) -> TrainedSVMs:
    """Train one SVM per class, test them and keep a classifier in the run folder.

    Vectors that the run holds are not computed again.

    Raises:
        FileNotFoundError: there are no such photos, or no such network.
        ValueError: the photos or settings cannot be used, or the run's classifier is a trained network.
        RuntimeError: another process is working on the classifier.
        OSError: a file cannot be read or written.
    """
    s, folder, splits = settings, run_folder(settings) / CLASSIFIER, photos_of_benchmark(settings)
    if ALL in splits:
        _divided(s, splits[ALL], s.seed)  # raises now if the photos are too few
    else:
        refuse(s, "the photos are divided into training and test already", "train", "test", "divisions")
        _check_classes(next(iter(splits.values())))
    anew = s.overwrite and Path(s.backbone).resolve() != folder.resolve()  # or else its network is needed
    with exclusive(folder), set_aside(*([folder / MODEL] if anew else [])):
        if not s.overwrite and "training" in (notes_of(folder) or {}):
            raise ValueError(f"{folder}: holds a trained network; give another --run, or --overwrite")
        extractor = load_extractor(s)
        rows = {split: arrays[s.layer] for split, arrays in represent(s, extractor, splits, [s.layer]).items()}
        svms, scores = _train_and_test(s, splits, rows)
        model = _model(s, extractor, svms, next(iter(splits.values())))
        model.save(folder)
    return TrainedSVMs(folder, model, scores)


def _check_classes(photos: LabelledPhotos) -> None:
    """Refuse a class that cannot be learned, before the vectors are computed."""
    for name, column in zip(photos.classes, photos.truth.T, strict=True):
        there, count = int((column == 1).sum()), int((column != 0).sum())
        if there in (0, count):
            raise ValueError(
                f"{photos.name}: {name} is in {there} of {count} photos, expected some with and some without it"
            )


def _train_and_test(s: ClassifierSettings, splits: Splits, rows: Mapping[str, Rows]) -> tuple[LinearClassifier, Scores]:
    """SVMs of all training photos, and scores by the protocol of the data set."""
    if ALL in splits:
        scores = _over_divisions(s, splits[ALL], rows[ALL])
        log.info("the saved classifier is trained on all %d photos", len(splits[ALL]))
        return linear_classifier.fit(rows[ALL], splits[ALL].truth, s.cost, s.seed), scores
    (train, test), (seen, unseen) = splits.values(), rows.values()
    svms = linear_classifier.fit(seen, train.truth, s.cost, s.seed)
    margins = svms(unseen)
    if s.voc2007:
        ap = evaluation.class_ap(margins, test.truth, s.metric or "voc07")
        return svms, PrecisionScores(dict(zip(test.classes, ap.tolist(), strict=True)), train.name, test.name)
    accuracy = evaluation.top_accuracy(margins, test.labels)
    return svms, SplitScores(accuracy, evaluation.mean_class_accuracy(margins, test.labels), len(test))


def _over_divisions(s: ClassifierSettings, photos: LabelledPhotos, rows: Rows) -> DivisionScores:
    """Scores over several random divisions of the photos."""
    place = {path: i for i, path in enumerate(photos.paths)}
    found, divisions = [], s.divisions or DIVISIONS
    with progress(divisions, 0, "division", "SVMs") as bar:
        for seed in range(s.seed, s.seed + divisions):
            train, test = _divided(s, photos, seed)
            seen, unseen = ([place[path] for path in part.paths] for part in (train, test))
            svms = linear_classifier.fit(rows[seen], train.truth, s.cost, seed)
            found.append(evaluation.mean_class_accuracy(svms(rows[unseen]), test.labels))
            bar.update()
    return DivisionScores(found)


def _divided(s: ClassifierSettings, photos: LabelledPhotos, seed: int) -> tuple[LabelledPhotos, LabelledPhotos]:
    """Photos to train on and photos to test on."""
    n_train, n_test = (s.train or CALTECH[0], s.test or CALTECH[1]) if s.caltech101 else (s.train, s.test)
    if n_train:
        return class_folders.divide(photos, n_train, n_test, seed)
    return divide_by_share(photos, SHARE, seed, n_test)


def _model(s: ClassifierSettings, extractor: Extractor, svms: LinearClassifier, photos: LabelledPhotos) -> Model:
    notes = {"data": photos.name, "photos": len(photos), "backbone": s.backbone, "cost": s.cost}
    own = bool(extractor.head)  # a network that was trained here is saved with the SVMs
    return Model(photos.classes, extractor, svms, s.layer, View(s.view, s.short_side), own, notes)
