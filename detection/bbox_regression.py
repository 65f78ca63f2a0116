"""Bounding-box regression: from the features of a window to the box of the object that it overlaps.

One ridge regression per class, with whitened targets (paper section 4.1; bbox_regression/*.m). Features are pool5, as
in the paper, or those of fully connected layers.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from detection.boxes import as_boxes
from detection.config import BoxRegressionConfig
from detection.training.images import TrainingImages
from detection.training.ridge import RidgeSystem, system_bytes

if TYPE_CHECKING:
    from detection.networks.fc_head import FcFeatures
    from detection.training.regressor_checkpoint import RegressorParts

log = logging.getLogger(__name__)

WHITENING = 0.001  # added to the eigenvalues of the targets' covariance; train_bbox_regressor.m
SAMPLE_SEED = 11  # of the choice of windows where they are limited
MEMORY = 6 * 2**30  # bytes of the systems of equations that are built in one pass over the images
Floats = NDArray[np.float64]
Block = tuple[NDArray[np.floating], ArrayLike, ArrayLike]  # features (N, D), boxes (N, 4), gt_boxes (N, 4)


@dataclass(frozen=True, eq=False)
class BoxRegressor:
    """The regressor of one class.

    Attributes:
        weights: float32 (D + 1, 4), from the features and a constant 1 to the targets; they include the whitening.
        mean: float64 (4,), mean of the training targets.
    """

    weights: NDArray[np.float32]
    mean: Floats

    def apply(self, features: NDArray[np.floating], boxes: ArrayLike) -> NDArray[np.float32]:
        """Return regressed boxes, not clipped: float32 (N, 4).

        Args:
            features: (N, D), scaled as in training.
            boxes: (N, 4), image pixels.
        """
        targets = features @ self.weights[:-1] + self.weights[-1] + self.mean
        return decode(boxes, targets).astype(np.float32)


class BoxRegressors:
    """The regressors of all classes, applied in one matrix product.

    Args:
        regressors: one per class; None leaves the boxes of the class unchanged.
        feature_scale: factor on the features.
        fc: fully connected layers that turn pool5 into the features; None: the features are pool5.
    """

    def __init__(
        self, regressors: Sequence[BoxRegressor | None], feature_scale: float, fc: FcFeatures | None = None
    ) -> None:
        self.fc = fc
        present = [r for r in regressors if r is not None]
        self.n_classes = len(regressors)
        self._place = np.full(len(regressors), -1)  # index of each class among those present, or -1
        self._place[[k for k, r in enumerate(regressors) if r is not None]] = np.arange(len(present))
        self._weights = np.concatenate([r.weights[:-1] for r in present], axis=1) * np.float32(feature_scale)  # (D, 4P)
        self._bias = np.concatenate([r.weights[-1] + r.mean for r in present]).astype(np.float32)

    def targets(self, pool5: NDArray[np.float32] | torch.Tensor) -> NDArray[np.float32]:
        """Return the targets of the P classes that have a regressor: float32 (N, P, 4).

        Args:
            pool5: float32 (N, D), an array or a tensor on any device; or a tensor of bfloat16.
        """
        return self.targets_of(self.fc(pool5) if self.fc else pool5)

    def targets_of(self, features: NDArray[np.float32] | torch.Tensor) -> NDArray[np.float32]:
        """Return `targets` of the unscaled features that the layers have made."""
        if isinstance(features, torch.Tensor):
            found = (features @ torch.from_numpy(self._weights).to(features)).float().cpu().numpy()
        else:
            found = features @ self._weights
        return (found + self._bias).reshape(len(features), -1, 4)

    def apply(
        self, boxes: NDArray[np.float32], labels: NDArray[np.int64], targets: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return regressed boxes, not clipped: float32 (N, 4).

        Args:
            boxes: float32 (N, 4), image pixels.
            labels: int64 (N,), class of each box.
            targets: float32 (N, P, 4), see `targets`.
        """
        place = self._place[labels]
        picked = targets[np.arange(len(boxes)), np.maximum(place, 0)]
        return np.where((place >= 0)[:, None], decode(boxes, picked).astype(np.float32), boxes)


def encode(boxes: ArrayLike, gt_boxes: ArrayLike) -> Floats:
    """Return the targets (dx, dy, log dw, log dh) from boxes (N, 4) to their objects (N, 4): float64 (N, 4).

    Unlike in overlaps, the width is x2 - x1 without the additional pixel, plus the float64 epsilon so that it is not
    zero; the centre is x1 + width / 2 (bbox_transform in train_bbox_regressor.m).
    """
    (cx, cy, w, h), (gx, gy, gw, gh) = _center_form(boxes), _center_form(gt_boxes)
    return np.stack([(gx - cx) / w, (gy - cy) / h, np.log(gw / w), np.log(gh / h)], axis=1)


def decode(boxes: ArrayLike, targets: ArrayLike) -> Floats:
    """Return the boxes that targets (N, 4) lead to from boxes (N, 4), the inverse of `encode`: float64 (N, 4)."""
    cx, cy, w, h = _center_form(boxes)
    tx, ty, tw, th = np.asarray(targets, np.float64).reshape(-1, 4).T
    x, y, w2, h2 = tx * w + cx, ty * h + cy, w * np.exp(tw) / 2, h * np.exp(th) / 2
    return np.stack([x - w2, y - h2, x + w2, y + h2], axis=1)


def _center_form(boxes: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    x1, y1, x2, y2 = as_boxes(boxes).T
    w, h = x2 - x1 + np.finfo(np.float64).eps, y2 - y1 + np.finfo(np.float64).eps
    return x1 + w / 2, y1 + h / 2, w, h


def fit(
    features: NDArray[np.floating] | Iterable[Block],
    boxes: ArrayLike | None = None,
    gt_boxes: ArrayLike | None = None,
    ridge: float = 4000.0,
) -> BoxRegressor:
    """Train the regressor of one class.

    Args:
        features: (N, D), scaled to a mean norm of 20; or, without `boxes` and `gt_boxes`, an iterable of
            (features, boxes, gt_boxes) blocks, of which at most D + 1 rows and one Gram matrix are held at a time.
        boxes: (N, 4), windows.
        gt_boxes: (N, 4), the object of each window.
        ridge: weight of the squared norm of the coefficients, the one of the constant included.

    Raises:
        ValueError: there is no window, or the arrays differ in length.
    """
    blocks = features if boxes is None or gt_boxes is None else [(np.asarray(features), boxes, gt_boxes)]
    system = RidgeSystem(ridge)
    for block_features, block_boxes, block_gt in blocks:
        targets = encode(block_boxes, block_gt)
        if len(block_features) != len(targets):
            raise ValueError(f"features: expected {len(targets)} rows, one per box, got {len(block_features)}")
        if len(targets):
            system.add(block_features, targets)
    return solve(system)


@dataclass(frozen=True, eq=False)
class TrainingWindows:
    """The windows of one image that regressors are trained on.

    Attributes:
        rows: int64 (N,), rows of the image's `LabelledBoxes`.
        objects: int64 (N,), the object of each window.
        labels: int64 (N,), the class of that object.
    """

    rows: NDArray[np.int64]
    objects: NDArray[np.int64]
    labels: NDArray[np.int64]


def training_windows(
    images: TrainingImages, index: int, config: BoxRegressionConfig, difficult: bool = True
) -> TrainingWindows:
    """Select the windows of one image that regressors are trained on; reads no features.

    A window belongs to the object that it overlaps most, whatever its class, and trains the regressor of that
    object's class if the overlap is large enough (spp_train_bbox_regressor.m).

    Args:
        images: the training images.
        index: number of the image.
        config: the smallest overlap.
        difficult: use the windows of difficult objects too.
    """
    labelled = images.labelled_boxes(index)
    if not len(labelled.labels):
        return TrainingWindows(*(np.zeros(0, np.int64) for _ in range(3)))
    match = labelled.gt_overlaps.argmax(axis=1)  # (G + R,)
    overlap = labelled.gt_overlaps.max(axis=1)
    enough = overlap > config.min_iou if config.strict else overlap >= config.min_iou
    rows = np.flatnonzero(enough & (difficult | ~labelled.difficult[match]))
    return TrainingWindows(rows, match[rows], labelled.labels[match[rows]])


def fit_all(
    images: TrainingImages,
    config: BoxRegressionConfig,
    feature_scale: float,
    *,
    difficult: bool = True,
    memory: int = MEMORY,
    parts: RegressorParts | None = None,
    on_class: Callable[[int], None] = lambda k: None,
) -> list[BoxRegressor | None]:
    """Train the regressors of all classes in one pass over the feature cache, or in a few if memory is short.

    Each regressor is the one that `fit` gives for the windows of its class in the order of the images.

    Args:
        images: the training images with their features, pool5 or those of fully connected layers. Of images in
            several views, the windows of every view are examples.
        config: the smallest overlap and the ridge.
        feature_scale: factor on the features.
        difficult: use the windows of difficult objects too.
        memory: bytes for the systems of equations that are built in one pass; at least one class is trained per
            pass. Solving them one after the other takes up to twice the size of the largest in addition.
        parts: files of finished regressors, from which an interrupted training resumes; None: none are written.
        on_class: called with each class once its regressor is finished, for a progress bar.

    Returns:
        K regressors; None for a class without windows.
    """
    windows = all_training_windows(images, config, difficult)
    counts = count_windows(windows, images.n_classes)
    found = [parts.get(k) if parts else None for k in range(images.n_classes)]
    for k in range(images.n_classes):
        if found[k] is not None or not counts[k]:
            on_class(k)
    length, rows = images.feature_length, counts * len(images.views)
    groups = _groups({k: system_bytes(n, length) for k, n in enumerate(rows) if n and found[k] is None}, memory)
    for number, group in enumerate(groups, 1):
        log.info("box regression: pass %d of %d over the features, %d classes", number, len(groups), len(group))
        systems = build_systems(images, windows, group, config.ridge, feature_scale)
        for k in group:
            found[k] = regressor = solve(systems.pop(k))
            if parts:
                parts.put(k, regressor)
            on_class(k)
    return found


def all_training_windows(
    images: TrainingImages, config: BoxRegressionConfig, difficult: bool = True
) -> list[TrainingWindows]:
    """Select the windows of all images, at most `config.max_windows` per class; arguments as of `training_windows`."""
    windows = [training_windows(images, index, config, difficult) for index in range(len(images))]
    return windows if config.max_windows is None else _sample(windows, config.max_windows)


def count_windows(windows: Sequence[TrainingWindows], n_classes: int) -> NDArray[np.int64]:
    """Return the number of windows of each class: int64 (K,)."""
    return np.bincount(np.concatenate([w.labels for w in windows]), minlength=n_classes)


def _sample(windows: Sequence[TrainingWindows], most: int) -> list[TrainingWindows]:
    """Return at most so many windows of each class, chosen at random over all images."""
    labels = np.concatenate([w.labels for w in windows])
    order = np.random.default_rng(SAMPLE_SEED).permutation(len(labels))
    rank = np.empty(len(labels), np.int64)  # of each window among those of its class, in random order
    for k in np.unique(labels):
        mine = order[labels[order] == k]
        rank[mine] = np.arange(len(mine))
    starts = np.cumsum([0, *(len(w.labels) for w in windows)])
    kept = [np.flatnonzero(rank[a:b] < most) for a, b in itertools.pairwise(starts)]
    return [TrainingWindows(w.rows[i], w.objects[i], w.labels[i]) for w, i in zip(windows, kept, strict=True)]


def _groups(sizes: Mapping[int, int], memory: int) -> list[list[int]]:
    """Divide classes into groups whose sizes fit memory together; a class that exceeds it is a group of its own.

    Args:
        sizes: class -> bytes.
        memory: bytes.
    """
    groups: list[list[int]] = []
    used = 0
    for k, size in sizes.items():
        if not groups or used + size > memory:
            groups.append([])
            used = 0
        groups[-1].append(k)
        used += size
    return groups


def build_systems(
    images: TrainingImages, windows: Sequence[TrainingWindows], group: Sequence[int], ridge: float, feature_scale: float
) -> dict[int, RidgeSystem]:
    """Build the systems of a group of classes; the maps of each image are read once, its windows pooled together.

    Args:
        images: images with their features.
        windows: the windows of each image; those of other classes are not used.
        group: classes.
        ridge: weight of the squared norm of the coefficients.
        feature_scale: factor on the features.

    Returns:
        class -> its system.
    """
    systems = {k: RidgeSystem(ridge) for k in group}
    for index, w in enumerate(windows):
        used = np.flatnonzero(np.isin(w.labels, group))
        if not len(used):
            continue
        boxes, labels = images.boxes(index)[w.rows[used]], w.labels[used]
        targets = encode(boxes, images.records[index].boxes[w.objects[used]])
        for view in images.views:
            pooled = view.pool(index, boxes) * np.float32(feature_scale)  # (n, D)
            seen = targets * (-1, 1, 1, 1) if view.mirrored else targets  # dx
            for k in np.unique(labels).tolist():
                systems[k].add(pooled[labels == k], seen[labels == k])
    return systems


def solve(system: RidgeSystem) -> BoxRegressor:
    """Train a regressor on the rows of a system, which cannot be used afterwards.

    Raises:
        ValueError: the system has no rows.
    """
    if not system.targets:
        raise ValueError("boxes: expected at least one window to train box regression on, got none")
    targets = np.concatenate(system.targets)
    mean = targets.mean(axis=0)
    whiten, restore = _whitening(targets - mean)
    return BoxRegressor((system.solve(mean, whiten) @ restore).astype(np.float32), mean)


def _whitening(centered: Floats) -> tuple[Floats, Floats]:
    """Return (T, T^-1), symmetric float64 (4, 4); centred targets (N, 4) times T have about unit covariance."""
    values, vectors = np.linalg.eigh(centered.T @ centered / len(centered))
    spread = np.sqrt(np.maximum(values, 0) + WHITENING)
    return (vectors / spread) @ vectors.T, (vectors * spread) @ vectors.T
