"""Fingerprint of a training: checkpoints and finished models are reused only where it is the same."""

from __future__ import annotations

import hashlib
from dataclasses import asdict

import numpy as np

from detection.config import SVMConfig
from detection.training.images import TrainingImages

POOLED = 2  # version of the order of the numbers in a pooled vector; a new order is a new training


def fingerprint(images: TrainingImages, config: SVMConfig, options: tuple[object, ...]) -> str:
    """Return the sha256 of everything that decides the result: images, windows, features, constants.

    Args:
        images: the training images.
        config: published constants.
        options: further values that change the result; their `repr` counts.
    """
    features = (POOLED, images.pooling, images.cache.manifest, images.fc.digest if images.fc else None)
    digest = hashlib.sha256(repr((asdict(config), options, *features)).encode())
    for record in images.records:
        digest.update(record.id.encode())
        for array in (record.boxes, record.labels, record.difficult, images.proposals[record.id]):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
