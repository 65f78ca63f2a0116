"""Fingerprint of a training: checkpoints and finished models are reused only where it is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from detection.config import SVMConfig
from detection.photo_record import PhotoRecord
from detection.training.images import TrainingImages

POOLED = 2  # version of the order of the numbers in a pooled vector; a new order is a new training


def fingerprint(
    images: TrainingImages, config: SVMConfig, options: tuple[object, ...], with_photos: bool = True
) -> str:
    """Return the sha256 of everything that decides the result: images, windows, features, constants.

    Args:
        images: the training images.
        config: published constants.
        options: further values that change the result; their `repr` counts.
        with_photos: include the contents of the photos, if the features' record of photos has them all; trainings
            from before there were such records have a fingerprint without.
    """
    digest_of_fc = images.fc.digest if images.fc else None
    features: tuple[object, ...] = (POOLED, images.pooling, images.cache.manifest, digest_of_fc)
    if images.pooling.context:
        features += (images.pooling.context, images.pooling.context_levels)
    if len(images.views) > 1:
        features += tuple((view.pooling, view.cache.manifest) for view in images.views)
    digest = hashlib.sha256(repr((asdict(config), options, *features)).encode())
    for record in images.records:
        digest.update(record.id.encode())
        for array in (record.boxes, record.labels, record.difficult, images.proposals[record.id]):
            digest.update(np.ascontiguousarray(array).tobytes())
    if with_photos:
        digest.update((_photos(images) or "").encode())
    return digest.hexdigest()


def data_digests(images: TrainingImages, classes: Sequence[str]) -> dict[str, str | None]:
    """Return the sha256 of what is learned from, for the notes of a model.

    Returns:
        "photos": of their contents, None if the features' record of photos lacks one; "annotations": of the objects
        and the names of their classes.
    """
    digest = hashlib.sha256(repr(tuple(classes)).encode())
    for record in images.records:
        digest.update(record.id.encode())
        for array in (record.boxes, record.labels, record.difficult):
            digest.update(np.ascontiguousarray(array).tobytes())
    return {"photos": _photos(images), "annotations": digest.hexdigest()}


def changed_data(notes: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return which of `data_digests` differ between the notes of two trainings; unknown ones count as the same."""
    names = ("photos", "annotations")
    return [name for name in names if notes.get(name) and now.get(name) and notes[name] != now[name]]


def _photos(images: TrainingImages) -> str | None:
    known = PhotoRecord(images.cache.photos).known
    states = [known.get(record.id) for record in images.records]
    if None in states:
        return None
    text = repr([(state.sha256, state.size) for state in states if state])
    return hashlib.sha256(text.encode()).hexdigest()
