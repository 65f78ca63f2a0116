"""Per-class linear SVMs with one pass of hard-negative mining (paper section 4.1; spp_train.m).

Positives are the ground-truth boxes; negatives are windows that overlap every object of the class by less than 0.3.
The images are visited once, in order. Windows that score above the margin are added to the negatives of the class. A
class with 2,000 new negatives is trained again, and the negatives that then score clearly below the margin are
dropped. All classes share one copy of the windows.
"""

from __future__ import annotations

from collections.abc import Callable

from detection.config import SVMConfig
from detection.linear_detectors import LinearDetectors
from detection.training.images import TrainingImages
from detection.training.mining import Miner, MiningOptions


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
        gives the same result; delete the checkpoint (`svm_checkpoint.remove`) once the result is saved.

    Raises:
        ValueError: no image has an object that can be a positive.
    """
    return Miner.resume(images, config, options).run(on_image).finish()
