"""SVMs that learn one labelled image at a time, from where they stand.

The dual variables of the windows that are held stay where they are, so that a change of one image costs a few sweeps.
An image is visited once with the SVMs of its time; `Catchup` visits all of them again, as a training from the beginning
does.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detection.config import SVMConfig
from detection.linear_detectors import LinearDetectors
from detection.training.images import TrainingImages
from detection.training.mining import Miner, MiningOptions, mine, training_key

if TYPE_CHECKING:
    from data.records import ImageRecord

TOLERANCE = 0.05  # relative duality gap at which learning from one image stops; a smaller one detects no better
FULL = "full"  # folder of a training from the beginning, within that of the options


class LiveSVMs:
    """SVMs of a growing set of labelled images.

    One thread at a time may call the methods. Same images in the same order give the same weights.

    Args:
        images: the images so far; its list `records` and its mapping `proposals` are changed by this class.
        config: returns the constants for a number of images.
        options: seed, tolerances, and the folder of the checkpoint.
        start: SVMs to begin with, one per class, minus infinity as bias for classes that they do not know; None: zero.
    """

    def __init__(
        self,
        images: TrainingImages,
        config: Callable[[int], SVMConfig],
        options: MiningOptions,
        start: LinearDetectors | None = None,
    ) -> None:
        self.images, self.config, self.options, self.start = images, config, options, start
        self._miner: Miner | None = None  # None: no image, or those at hand were not learned
        if len(images):
            self._miner = Miner.restored(images, config(len(images)), options, start)

    @property
    def learned(self) -> bool:
        """Whether all images were learned; False after a restart without the checkpoint of these images."""
        return self._miner is not None or not len(self.images)

    @property
    def ids(self) -> list[str]:
        """Ids of the images, in the order in which they came."""
        return [record.id for record in self.images.records]

    def put(self, record: ImageRecord, proposals: NDArray[np.float32]) -> None:
        """Learn an image, or its new objects in place of the old ones.

        Args:
            record: the image with its objects; its maps are in the cache of the images.
            proposals: float32 (R, 4), image pixels.
        """
        known, records = self.ids, _list(self.images)
        changed = np.zeros(self.images.n_classes, np.bool_)
        if record.id in known:
            index = known.index(record.id)
            changed = self._forget(index)
            records[index] = record
        else:
            index = len(records)
            records.append(record)
        self.images.proposals = {**self.images.proposals, record.id: proposals}
        if self._miner is None and len(records) == 1:
            self._miner = Miner.empty(self.images, self.config(1), self.options, self.start)
        self._learn([index], changed)

    def remove(self, image_id: str) -> None:
        """Forget an image, if it is known."""
        if image_id not in self.ids:
            return
        index = self.ids.index(image_id)
        changed = self._forget(index)
        del _list(self.images)[index]
        if self._miner is not None:
            held = self._miner.windows.image
            held[held > index] -= 1
        self._learn([], changed)

    def widen(self, n_classes: int, start: LinearDetectors | None = None) -> None:
        """Add classes, whose windows are still to come, up to this number.

        Args:
            n_classes: number of all classes.
            start: what all classes begin with, if the others began with something.
        """
        self.images.n_classes = n_classes
        self.start = start if self.start is not None else None
        if self._miner is not None:
            self._miner.widen(n_classes, self.start)

    def detectors(self) -> LinearDetectors | None:
        """Return the SVMs as they are now, which later learning does not change; None: nothing was learned."""
        if self._miner is None:
            return None
        found = self._miner.detectors()
        return replace(found, weights=found.weights.copy())

    def save(self) -> None:
        """Write the checkpoint from which the training continues after a restart."""
        if self._miner is not None and len(self.images):
            config = self._miner.config
            self._miner.key = training_key(self.images, config, self.options, self.start)
            self._miner.save()

    def catchup(self) -> Catchup:
        """Return a training of the present images from the beginning, which another thread may run."""
        return Catchup(self.images, self.config(len(self.images)), self.options, self.start)

    def adopt(self, trained: Catchup) -> None:
        """Continue from a training that is finished, and learn what changed since it began."""
        miner = trained.miner
        assert miner is not None
        before = {record.id: (i, record) for i, record in enumerate(miner.images.records)}
        place = np.full(len(before) + 1, -1)  # number of each image now; the last one is of free slots
        changed = np.zeros(self.images.n_classes, np.bool_)
        todo = []
        for index, record in enumerate(self.images.records):
            there, same = before.pop(record.id, (None, None))
            if same is record and there is not None:
                place[there] = index
            else:
                todo.append(index)
        if miner.images.n_classes < self.images.n_classes:
            miner.widen(self.images.n_classes, self.start)
        for gone in np.flatnonzero(place[:-1] < 0):
            changed |= miner.forget(int(gone))
        miner.windows.image = place[miner.windows.image]
        miner.images, miner.options = self.images, self.options
        if self._miner is not None:
            self._miner.windows.rows.close()
        self._miner = miner
        shutil.rmtree(self.options.folder / FULL, ignore_errors=True)  # checkpoints of this training and earlier ones
        self._learn(todo, changed)

    def _forget(self, index: int) -> NDArray[np.bool_]:
        """Remove the windows of an image; return the classes that used some, bool (K,)."""
        if self._miner is None:
            return np.zeros(self.images.n_classes, np.bool_)
        return self._miner.forget(index)

    def _learn(self, indices: list[int], changed: NDArray[np.bool_]) -> None:
        """Add the windows of images and train the classes that use them, and those that changed, bool (K,)."""
        miner = self._miner
        if miner is None:
            return
        for index in indices:
            before = miner.trainable.copy()
            changed = changed | miner.add_positives(index)
            for k in np.flatnonzero(miner.trainable & ~before).tolist():
                miner.begin(k)
            miner.visit(index)
        miner.next_image = len(self.images)
        classes = np.flatnonzero(miner.trainable & (changed | (miner.new > 0)))
        miner.retrain(classes, TOLERANCE)


class Catchup:
    """A training from the beginning on the images of one moment; its result is that of `svm.train`.

    Attributes:
        images: the images of that moment.
        miner: what was trained; None before `run` has ended.
    """

    def __init__(
        self, images: TrainingImages, config: SVMConfig, options: MiningOptions, start: LinearDetectors | None
    ) -> None:
        self.images = copy.copy(images)
        self.images.records, self.images.proposals = tuple(images.records), dict(images.proposals)
        self.config, self.start = config, start
        key = training_key(self.images, config, options, start)  # so that no other training's checkpoint is in the way
        self.options = replace(options, folder=options.folder / FULL / key[:8])
        self.miner: Miner | None = None

    def run(self, on_image: Callable[[int], None] = lambda done: None) -> None:
        """Train; an interrupted training of the same images resumes from its checkpoint.

        Args:
            on_image: called with the number of finished images; what it raises ends the training.

        Raises:
            ValueError: no image has an object.
        """
        self.miner = Miner.resume(self.images, self.config, self.options, self.start)
        mine([self.miner], on_image)


def _list(images: TrainingImages) -> list[ImageRecord]:
    """Return the records of images that grow."""
    assert isinstance(images.records, list)
    return images.records
