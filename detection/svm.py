"""Per-class linear SVMs with one pass of hard-negative mining (paper section 4.1; spp_train.m).

Positives are the ground-truth boxes; negatives are windows that overlap every object of the class by less than 0.3.
The images are visited once, in order. Windows that score above the margin are added to the negatives of the class. A
class with 2,000 new negatives is trained again, and the negatives that then score clearly below the margin are
dropped. All classes share one copy of the windows. Where many workers share the images, these are visited in rounds
instead, see `training.mining_rounds`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from detection.config import SVMConfig
from detection.engines.engine import Engine
from detection.engines.this_process import ThisProcess
from detection.linear_detectors import LinearDetectors
from detection.training import svm_checkpoint
from detection.training.images import TrainingImages
from detection.training.mining import Miner, MiningOptions, mine
from detection.training.mining_rounds import mine_in_rounds


def train(
    images: TrainingImages,
    config: SVMConfig,
    options: MiningOptions,
    on_image: Callable[[int], None] = lambda done: None,
) -> LinearDetectors:
    """Mine hard negatives over all images once and train every class.

    Args:
        images: training images with their windows and features.
        config: published constants.
        options: solver, memory, checkpoints.
        on_image: called with the number of finished images, for a progress bar.

    Returns:
        the SVMs of all classes. An interrupted training resumes from its last checkpoint in `options.folder` and
        gives the same result; delete the checkpoint (`svm_checkpoint.remove`) once the result is saved. Which windows
        were held at the end stays there, for `trained_without`.

    Raises:
        ValueError: no image has an object that can be a positive.
    """
    return train_together([Part(images, options)], config, on_image)[0]


@dataclass(frozen=True, eq=False)
class Part:
    """One training of several.

    Attributes:
        images: with the features that the SVMs learn from.
        options: with the folder of the checkpoint, which is this training's alone.
    """

    images: TrainingImages
    options: MiningOptions


def train_together(
    parts: Sequence[Part],
    config: SVMConfig,
    on_image: Callable[[int], None] = lambda done: None,
    engine: Engine | None = None,
) -> list[LinearDetectors]:
    """Train SVMs on several kinds of features of the same windows, which are pooled once for all.

    Windows that the first SVMs are sure of are not hard for the others, see `mining.visit_together`. Where layers
    compute in bfloat16, windows are ranked by scores of that precision.

    Args:
        parts: the trainings, with the same images in the same views; all mine in rounds, or none does.
        config: published constants.
        on_image: as of `train`.
        engine: what mines in rounds; None: this process. The result is the same.

    Returns:
        the SVMs of each training.

    Raises:
        ValueError: no image has an object that can be a positive.
        WorkerLost: images ended their workers.
    """
    miners = [Miner.resume(part.images, config, part.options) for part in parts]
    if len({miner.next_image for miner in miners}) > 1:  # interrupted between the checkpoints of one and the next
        for part in parts:
            svm_checkpoint.remove(part.options.folder)
        miners = [Miner.resume(part.images, config, part.options) for part in parts]
    _mine(miners, on_image, engine)
    return [miner.finish() for miner in miners]


def trained_without(
    parts: Sequence[Sequence[int]],
    images: TrainingImages,
    config: SVMConfig,
    options: MiningOptions,
) -> Iterator[LinearDetectors]:
    """Yield SVMs that have not seen some of the images, for each part of the images that is left out.

    They are trained on the windows that a training on all images ended with, so nothing is mined again. If that
    training is not in `options.folder`, it is done first.

    Args:
        parts: numbers of the images to leave out.
        images: all training images.
        config: published constants.
        options: as of the training on all images.

    Raises:
        ValueError: no image has an object that can be a positive.
    """
    miner = Miner.restored(images, config, options, file=svm_checkpoint.FINISHED)
    if miner is None:
        miner = Miner.resume(images, config, options)
        _mine([miner])
        miner.save(svm_checkpoint.FINISHED)
        svm_checkpoint.remove(options.folder)
    try:
        for part in parts:
            yield miner.without(part)
    finally:
        miner.close()


def _mine(
    miners: Sequence[Miner], on_image: Callable[[int], None] = lambda done: None, engine: Engine | None = None
) -> None:
    if miners[0].options.rounds:
        mine_in_rounds(miners, engine or ThisProcess(), on_image)
    else:
        mine(miners, on_image)
