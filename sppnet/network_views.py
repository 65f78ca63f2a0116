"""The views of `visualize` that look into a network: filters, bins of a window, what a score is made of."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TypeAlias

from tools import common

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detection import SPPDetector
    from detection.features import FeaturePyramid

View: TypeAlias = "tuple[NDArray[np.uint8], dict[str, Any]]"  # the picture, and what it shows


def channels(options: common.Options) -> View:
    """Where filters respond: conv5 channels over the photo, as the paper's Figure 2."""
    from detection.pictures import network_views

    detector, photo, pyramid = _convolved(options)
    picture, shown = network_views.channel_sheet(photo, pyramid, options.channels, options.count, options.columns)
    return picture, {"network": detector.body.name, "scale": pyramid.scales[0], "channels": shown}


def bins(options: common.Options) -> View:
    """The cells of a box at the scale it is pooled at, and the bins of each level of the pyramid."""
    from detection.pictures import network_views

    detector, photo, pyramid = _convolved(options)
    box = _box(options, detector, photo)
    picture, cells = network_views.bin_sheet(photo, box, pyramid, detector.model.config.pooling)
    x0, y0, x1, y1 = cells.windows[0].tolist()
    scale = pyramid.scales[int(cells.scale_index[0])]
    print(f"scale {scale}: cells {x0} to {x1} across, {y0} to {y1} down")
    return picture, {"box": [float(v) for v in box], "scale": scale, "cells": [x0, y0, x1, y1]}


def evidence(options: common.Options) -> View:
    """What an SVM's score of a window is made of: the sum of every bin, and the strongest cells of the pyramid."""
    from detection.pictures import network_views

    detector, photo, pyramid = _convolved(options)
    model, name = detector.model, options.class_name
    if name and name not in model.classes:
        raise ValueError(f"--class {name}: the model knows {', '.join(model.classes)}")
    found = detector.detect(photo).filter(labels=name).top(1)
    if options.box is None and not len(found):
        raise ValueError(f"{options.image}: nothing was found; name a window with --box and a class with --class")
    if options.box and not name:
        raise ValueError("--box: which class should be shown? name it with --class")
    box = options.box or found.boxes[0].tolist()
    label = model.classes.index(name) if name else int(found.labels[0])
    picture, pairs = network_views.evidence_sheet(photo, box, model, pyramid, label, options.strongest)
    return picture, {"class": model.classes[label], "box": box, "strongest": pairs}


def _convolved(options: common.Options) -> tuple[SPPDetector, NDArray[np.uint8], FeaturePyramid]:
    from detection import SPPDetector, features, image

    photo = image.read(options.image)
    detector = SPPDetector.from_pretrained(
        options.model, device=options.device, weights=options.weights or "pretrained"
    )
    return detector, photo, features.compute_pyramid(photo, detector.body, detector.model.config.pooling.scales)


def _box(options: common.Options, detector: SPPDetector, photo: NDArray[np.uint8]) -> list[float]:
    """That of --box, or of the proposal of a rank."""
    if options.box:
        told: list[float] = options.box
        return told
    boxes = detector.propose(photo)
    if options.rank > len(boxes):
        raise ValueError(f"--rank {options.rank}: the photo has {len(boxes)} proposals")
    found: list[float] = boxes[options.rank - 1].tolist()
    return found


def _model_flags(p: argparse.ArgumentParser) -> None:
    common.detector_flags(p)
    common.compute_flags(p)


def channel_flags(p: argparse.ArgumentParser) -> None:
    """Which filters."""
    _model_flags(p)
    p.add_argument("--channels", type=int, nargs="+", metavar="C", help="which (those that respond most)")
    p.add_argument("--count", type=common.positive, default=11, metavar="N", help="how many (%(default)s)")
    p.add_argument("--columns", type=common.positive, default=4, help="of the sheet (%(default)s)")


def bin_flags(p: argparse.ArgumentParser) -> None:
    """Which window."""
    _model_flags(p)
    _box_flag(p)
    p.add_argument("--rank", type=common.positive, default=1, metavar="N", help="without --box, of a proposal (1)")


def evidence_flags(p: argparse.ArgumentParser) -> None:
    """Which window and class."""
    _model_flags(p)
    _box_flag(p)
    p.add_argument("--class", dest="class_name", metavar="NAME", help="(that of the best detection)")
    p.add_argument("--strongest", type=common.positive, default=3, metavar="N", help="cells shown (%(default)s)")


def _box_flag(p: argparse.ArgumentParser) -> None:
    p.add_argument("--box", type=float, nargs=4, metavar=("X0", "Y0", "X1", "Y1"), help="a window, image pixels")


COMMANDS = {"channels": (channels, channel_flags), "bins": (bins, bin_flags), "evidence": (evidence, evidence_flags)}
