"""The work on one image of detection with stored features, as an engine does it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection import features
from detection.cache import FeatureCache
from detection.detections import Detections
from detection.engines.engine import Engine, WorkerLost
from detection.engines.this_process import ThisProcess
from detection.ensemble import Combine, Evidence, detect_windows
from detection.model import Model
from detection.networks.softmax import SoftmaxClassifier

Task = tuple[str, list[NDArray[np.float32]]]  # id of an image, and each model's windows, (R, 4)


@dataclass(frozen=True, eq=False)
class ModelWithFeatures:
    """One model and where the features of its views are.

    Attributes:
        model: SVMs and box regressors.
        softmax: scores instead of the SVMs; None: the SVMs score.
        caches: one per view.
    """

    model: Model
    softmax: SoftmaxClassifier | None
    caches: Sequence[FeatureCache]

    def evidence(self, image_id: str, boxes: NDArray[np.float32]) -> Evidence:
        """What the model sees of an image, with the windows (R, 4)."""
        first, *others = (features.load_pyramid(cache, image_id) for cache in self.caches)
        return Evidence(first, boxes, self.model, self.softmax, others)


@dataclass(frozen=True, eq=False)
class Detecting:
    """What detects in images, in this process or as one of many workers; see `Make`."""

    models: Sequence[ModelWithFeatures]
    combine: Combine

    def __call__(self) -> Callable[[Task], tuple[Detections, Detections]]:
        """Return the function of an image, whose detections it gives before and after box regression."""
        return self._detect

    def _detect(self, task: Task) -> tuple[Detections, Detections]:
        image_id, boxes = task
        parts = (one.evidence(image_id, mine) for one, mine in zip(self.models, boxes, strict=True))
        return detect_windows(*parts, combine=self.combine)


def detect_each(
    models: Sequence[ModelWithFeatures], tasks: Iterable[Task], combine: Combine, engine: Engine | None
) -> Generator[tuple[str, tuple[Detections, Detections]], None, None]:
    """Yield the id and the detections of each image, in any order.

    Args:
        models: the models.
        tasks: images with their windows.
        combine: how models detect together.
        engine: what does the work; None: this process.

    Raises:
        OSError, ValueError: features are missing or damaged.
        WorkerLost: an image ended its workers.
    """
    with closing((engine or ThisProcess()).map(Detecting(models, combine), tasks)) as results:
        for (image_id, _), outcome in results:
            try:
                yield image_id, outcome.result()
            except WorkerLost as error:
                raise WorkerLost(f"image {image_id}: {error}; use fewer workers (-j)") from error
