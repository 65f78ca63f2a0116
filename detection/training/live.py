"""A detector that learns from photos while people label them.

The convolutions are never trained, so that a photo is convolved once. What changes with a label is linear: SVMs, box
regressors and the functions that turn margins into probabilities.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detection import calibration, features, voting
from detection.bbox_regression import BoxRegressor, fit_all
from detection.config import Config, SVMConfig
from detection.detections import Detections
from detection.ensemble import Evidence, detect_windows
from detection.evaluation import voc
from detection.features import FeaturePyramid
from detection.linear_detectors import LinearDetectors
from detection.model import Model
from detection.training.images import TrainingImages, mean_norm
from detection.training.live_svms import Catchup, LiveSVMs
from detection.training.mining import MiningOptions

if TYPE_CHECKING:
    from data.records import ImageRecord

REGRESSED_WINDOWS = 1000  # per class, that box regressors learn from
REGRESSION_MEMORY = 2**30  # bytes
CALIBRATED_PHOTOS = 100  # the last ones, at most, that probabilities are learned from
FEWEST_PHOTOS = 8  # the last ones, at least, that probabilities are learned from


def blank(
    classes: Sequence[str], config: Config, network: tuple[str, str], length: int, proposals: dict[str, Any]
) -> Model:
    """Return a model that has learned nothing.

    Args:
        classes: K names in label order.
        config: constants, with scales and pyramid levels.
        network: name of the convolutions, and the hash of their weights.
        length: D of pool5.
        proposals: how windows are made, as stated in their file.
    """
    nothing = np.zeros((len(classes), length), np.float32)
    svms = LinearDetectors(nothing, np.full(len(classes), -np.inf, np.float32), 1.0)
    return Model(tuple(classes), config, *network, svms, proposals=proposals)


def detect(model: Model, pyramid: FeaturePyramid, boxes: NDArray[np.float32]) -> Detections:
    """Detect the objects of one photo among its windows, float32 (R, 4) image pixels, on maps that are there already.

    The model's inference must look at a single view of the photo.
    """
    evidence, test = Evidence(pyramid, boxes, model), model.config.test
    found = voting.vote(evidence.judgement(), test, test.voting) if test.voting else detect_windows(evidence)[1]
    return replace(found, classes=model.classes, calibration=model.calibration)


def digest(model: Model) -> str:
    """Return a fingerprint of what a model has learned, in hexadecimal; equal models have the same."""
    parts = [model.svms.weights.tobytes(), model.svms.bias.tobytes(), repr((model.classes, model.calibration)).encode()]
    parts += [b"none" if r is None else r.mean.tobytes() for r in model.regressors]
    return hashlib.sha256(b"".join(parts)).hexdigest()


class LiveDetector:
    """A model and the labelled photos that it learns from, one by one.

    One thread at a time may call the methods; `model` may be read by any. Every photo is first detected with the model
    that has not seen it; from these detections probabilities are learned.

    Args:
        start: what learning begins with and stays close to, see `blank` and `Model.with_classes`. Its inference looks
            at a single view.
        images: the photos so far, an empty list or those before a restart, with the pooling of the model and its
            layers; this class changes them.
        svm_config: returns the constants of the SVMs for a number of photos.
        options: seed and tolerances; the folder keeps checkpoints.

    Attributes:
        model: the newest state, which does not change; later ones replace it.
        version: number of states so far.
        held_out: photo -> what was found in it before it was learned.
    """

    def __init__(
        self,
        start: Model,
        images: TrainingImages,
        svm_config: Callable[[int], SVMConfig],
        options: MiningOptions,
    ) -> None:
        known = np.isfinite(start.svms.bias).any()
        self.start, self.images, self.options = start, images, options
        self.svms = LiveSVMs(images, svm_config, options, start.svms if known else None)
        self.model, self.version = start, 0
        self.held_out: dict[str, Detections] = {}
        self._changes, self._caught_up = len(images), 0
        self._publish()

    @property
    def behind(self) -> bool:
        """Whether something changed since the last catching up began, and there are objects to learn from."""
        return self._changes > self._caught_up and any(len(record.labels) for record in self.images.records)

    def resume(self, saved: Model, held_out: Mapping[str, Detections]) -> None:
        """Continue with the model and the detections that were kept before a restart."""
        self.held_out = {i: held_out[i] for i in self.svms.ids if i in held_out}
        svms = self.svms.detectors() or saved.svms
        self.model = replace(saved, svms=svms)
        self.version += 1

    def put(self, record: ImageRecord, proposals: NDArray[np.float32]) -> None:
        """Learn a photo, or its new objects in place of the old ones, and make a new model.

        Args:
            record: the photo with its objects; its maps are in the cache of the images.
            proposals: float32 (R, 4), image pixels.
        """
        if record.id not in self.svms.ids:
            pyramid = features.load_pyramid(self.images.cache, record.id)
            self.held_out[record.id] = detect(self.model, pyramid, proposals)
        self.svms.put(record, proposals)
        self._changed()

    def remove(self, image_id: str) -> None:
        """Forget a photo and make a new model, if the photo is known."""
        if image_id in self.svms.ids:
            self.svms.remove(image_id)
            self.held_out.pop(image_id, None)
            self._changed()

    def widen(self, start: Model) -> None:
        """Add classes after the others, whose order stays.

        Args:
            start: what all classes begin with.
        """
        classes, before = start.classes, self.model.classes
        if classes[: len(before)] != before:
            raise ValueError(f"classes: expected {', '.join(before)} first, got {', '.join(classes)}")
        self.start, self.model = start, self.model.with_classes(classes)
        self.svms.widen(len(classes), start.svms)
        self.version += 1
        self._publish()

    def catchup(self) -> LiveCatchup:
        """Return a training of the present photos from the beginning, which another thread may run."""
        self._caught_up = self._changes
        return LiveCatchup(self.svms.catchup(), self.start)

    def adopt(self, trained: LiveCatchup) -> None:
        """Continue from a training that is finished, learn what changed since it began, and make a new model."""
        self.svms.adopt(trained.svms)
        regressors = (*trained.regressors, *([None] * (len(self.model.classes) - len(trained.regressors))))
        self.model = replace(self.model, regressors=regressors, bbox_feature_scale=trained.feature_scale)
        self._publish()

    def _changed(self) -> None:
        self._changes += 1
        self._publish()

    def _publish(self) -> None:
        """Make a model of the SVMs as they are now, and learn probabilities again."""
        svms = self.svms.detectors()
        if svms is not None:
            learned = self._calibration() or self.start.calibration
            self.model = replace(self.model, svms=svms, calibration=learned)
            self.version += 1

    def _calibration(self) -> calibration.Calibration | None:
        """Probabilities learned from the newer half of the photos, as they were detected before they were learned.

        The SVMs of that time knew at least half as many photos as those of now. Detecting again in photos that were
        learned since would flatter them.
        """
        newer = self.images.records[len(self.images) // 2 :]
        records = [r for r in newer if r.id in self.held_out][-CALIBRATED_PHOTOS:]
        if len(records) < FEWEST_PHOTOS:
            return None
        result = voc.evaluate({r.id: self.held_out[r.id] for r in records}, records, classes=self.model.classes)
        return calibration.fit(result.scores, result.correct, result.n_objects)


class LiveCatchup:
    """SVMs and box regressors trained from the beginning on the photos of one moment.

    Args:
        svms: their training.
        start: model of which the regressors of classes without windows are taken.

    Attributes:
        regressors: one per class; None for a class without windows.
        feature_scale: factor on the features of the regressors.
    """

    def __init__(self, svms: Catchup, start: Model) -> None:
        self.svms, self._start = svms, start
        self.regressors: tuple[BoxRegressor | None, ...] = ()
        self.feature_scale = start.bbox_feature_scale

    def run(self, on_step: Callable[[], None] = lambda: None) -> None:
        """Train.

        Args:
            on_step: called between photos and between classes; it may wait, and what it raises ends the training.
        """
        self.svms.run(lambda done: on_step())
        start, images = self._start, copy.copy(self.svms.images)
        images.fc = start.fc if start.bbox_on_fc else None
        if start.regression is None:
            self.feature_scale = start.config.bbox.feature_norm / mean_norm(images)
        config = replace(start.config.bbox, max_windows=REGRESSED_WINDOWS)
        difficult = self.svms.config.difficult
        own = fit_all(
            images,
            config,
            self.feature_scale,
            difficult=difficult,
            memory=REGRESSION_MEMORY,
            on_class=lambda k: on_step(),
        )
        given = start.regressors or (None,) * len(own)
        self.regressors = tuple(a or b for a, b in zip(own, given, strict=True))
