"""Views of what a detector's network computes: responses of filters, bins of a window, the parts of a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detection import features, image
from detection.detector import SPPDetector
from detection.pictures import network_views
from sppnet.settings.views import BinViewSettings, ChannelViewSettings, EvidenceViewSettings, NetworkViewSettings
from sppnet.views import View

Photo = NDArray[np.uint8]


def channel_view(settings: ChannelViewSettings) -> View:
    """Draw where filters of conv5 respond, one tile per channel, as in the paper's Figure 2.

    Returns:
        the sheet, and as facts the network, the scale of the map, and the channels shown.

    Raises:
        OSError, ValueError: the photo or the detector cannot be read, or there is no such channel.
    """
    photo, detector = image.read(settings.image), _detector(settings)
    pyramid = features.compute_pyramid(photo, detector.body, detector.model.config.pooling.scales[:1])
    picture, shown = network_views.channel_sheet(photo, pyramid, settings.channels, settings.count, settings.columns)
    return View(picture, {"network": detector.body.name, "scale": pyramid.scales[0], "channels": shown})


def bin_view(settings: BinViewSettings) -> View:
    """Draw the cells of a window at the scale it is pooled at, and the bins of each level of the spatial pyramid.

    Returns:
        the sheet, and as facts the box, the scale, and the window's cells (x0, y0, x1, y1, inclusive).

    Raises:
        OSError, ValueError: the photo or the detector cannot be read, or there is no proposal of this rank.
    """
    photo, detector = image.read(settings.image), _detector(settings)
    box = settings.box or _proposal(detector, photo, settings.rank)
    pooling = detector.model.config.pooling
    pyramid = features.compute_pyramid(photo, detector.body, pooling.scales)
    picture, cells = network_views.bin_sheet(photo, box, pyramid, pooling)
    scale = pyramid.scales[int(cells.scale_index[0])]
    return View(picture, {"box": list(box), "scale": scale, "cells": cells.windows[0].tolist()})


def evidence_view(settings: EvidenceViewSettings) -> View:
    """Draw what an SVM's score of a window is made of: the sum of each bin, and the strongest bin-channel pairs.

    Returns:
        the sheet, and as facts the class, the box, and for each of the strongest pairs its level, row, column, channel
        and what it adds to the score.

    Raises:
        OSError, ValueError: the photo or the detector cannot be read, the model does not know the class, nothing is
            found, or a box is given without a class.
    """
    s, photo, detector = settings, image.read(settings.image), _detector(settings)
    model, name = detector.model, s.class_name
    box: Sequence[float] | None = s.box
    if name and name not in model.classes:
        raise ValueError(f"--class {name}: the model knows {', '.join(model.classes)}")
    if box and not name:
        raise ValueError("--box: which class should be shown? name it with --class")
    if not (box and name):
        box, name = _best_detection(detector, photo, s)
    pyramid = features.compute_pyramid(photo, detector.body, model.config.pooling.scales)
    label = model.classes.index(name)
    picture, pairs = network_views.evidence_sheet(photo, box, model, pyramid, label, s.strongest)
    return View(picture, {"class": name, "box": list(box), "strongest": pairs})


def _detector(settings: NetworkViewSettings) -> SPPDetector:
    s = settings
    return SPPDetector.from_pretrained(s.model, device=s.device, weights=s.weights or "pretrained")


def _proposal(detector: SPPDetector, photo: Photo, rank: int) -> list[float]:
    """The proposal of a rank, counted from 1."""
    boxes = detector.propose(photo)
    if rank > len(boxes):
        raise ValueError(f"--rank {rank}: the photo has {len(boxes)} proposals")
    found: list[float] = boxes[rank - 1].tolist()
    return found


def _best_detection(detector: SPPDetector, photo: Photo, settings: EvidenceViewSettings) -> tuple[list[float], str]:
    """Box and class of the detection with the highest score, of the named class if there is one."""
    found = detector.detect(photo).filter(labels=settings.class_name).top(1)
    if not len(found):
        raise ValueError(f"{settings.image}: nothing was found; name a window with --box and a class with --class")
    return found.boxes[0].tolist(), found.names[0]
