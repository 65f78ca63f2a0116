"""Bounding-box regression: from a window's pool5 features to the box of the object it found.

One ridge regression a class, with whitened targets (paper section 4.1; bbox_regression/*.m).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from detection.boxes import as_boxes
from detection.config import BoxRegressionConfig
from detection.training.images import TrainingImages

WHITENING = 0.001  # added to the eigenvalues of the targets' covariance; train_bbox_regressor.m
FOLD_ROWS = 2048  # rows gathered for one update of the Gram matrix
Floats = NDArray[np.float64]
Block = tuple[NDArray[np.floating], ArrayLike, ArrayLike]  # features (N, D), boxes (N, 4), gt_boxes (N, 4)


@dataclass(frozen=True, eq=False)
class BoxRegressor:
    """The regression of one class.

    Attributes:
        weights: float32 (D + 1, 4), features and a constant 1 to target; whitening is folded in.
        mean: float64 (4,), mean target.
    """

    weights: NDArray[np.float32]
    mean: Floats

    def apply(self, features: NDArray[np.floating], boxes: ArrayLike) -> NDArray[np.float32]:
        """Regressed boxes: features (N, D) scaled as in training, boxes (N, 4) -> float32 (N, 4), unclipped."""
        targets = features @ self.weights[:-1] + self.weights[-1] + self.mean
        return decode(boxes, targets).astype(np.float32)


class BoxRegressors:
    """The regressions of all classes, as one product.

    Args:
        regressors: one a class; None leaves the class' boxes as they are.
        feature_scale: what features are multiplied by.
    """

    def __init__(self, regressors: Sequence[BoxRegressor | None], feature_scale: float) -> None:
        present = [r for r in regressors if r is not None]
        self.n_classes = len(regressors)
        self._place = np.full(len(regressors), -1)  # of each class among those present
        self._place[[k for k, r in enumerate(regressors) if r is not None]] = np.arange(len(present))
        self._weights = np.concatenate([r.weights[:-1] for r in present], axis=1) * np.float32(feature_scale)  # (D, 4P)
        self._bias = np.concatenate([r.weights[-1] + r.mean for r in present]).astype(np.float32)

    def targets(self, features: NDArray[np.float32] | torch.Tensor) -> NDArray[np.float32]:
        """Of unscaled features, arrays or tensors of any device: (N, D) -> float32 (N, P, 4), P classes present."""
        if isinstance(features, torch.Tensor):
            found = (features @ torch.from_numpy(self._weights).to(features.device)).cpu().numpy()
        else:
            found = features @ self._weights
        return (found + self._bias).reshape(len(features), -1, 4)

    def apply(
        self, boxes: NDArray[np.float32], labels: NDArray[np.int64], targets: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Boxes (N, 4) of the given classes (N,), regressed by the `targets` (N, P, 4) of their features."""
        place = self._place[labels]
        picked = targets[np.arange(len(boxes)), np.maximum(place, 0)]
        return np.where((place >= 0)[:, None], decode(boxes, picked).astype(np.float32), boxes)


def encode(boxes: ArrayLike, gt_boxes: ArrayLike) -> Floats:
    """Targets (dx, dy, log dw, log dh) from each box to its object: (N, 4), (N, 4) -> float64 (N, 4).

    Widths are x2 - x1 here, without the 1 that overlaps count, plus a rounding unit so that none is zero, and
    centres x1 + width / 2 (bbox_transform in train_bbox_regressor.m).
    """
    (cx, cy, w, h), (gx, gy, gw, gh) = _center_form(boxes), _center_form(gt_boxes)
    return np.stack([(gx - cx) / w, (gy - cy) / h, np.log(gw / w), np.log(gh / h)], axis=1)


def decode(boxes: ArrayLike, targets: ArrayLike) -> Floats:
    """Inverse of `encode`: the boxes that the targets lead to, float64 (N, 4)."""
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
        features: (N, D) scaled to a mean norm of 20; or an iterable of (features, boxes, gt_boxes) blocks, when
            `boxes` and `gt_boxes` are left out. At most D + 1 rows are held at a time, and one Gram matrix.
        boxes: (N, 4) windows.
        gt_boxes: (N, 4) the object matched to each.
        ridge: weight of the squared norm, the constant's coefficient included.

    Raises:
        ValueError: there is no window, or the arrays do not fit each other.
    """
    blocks = features if boxes is None or gt_boxes is None else [(np.asarray(features), boxes, gt_boxes)]
    system = _RidgeSystem(ridge)
    for block_features, block_boxes, block_gt in blocks:
        targets = encode(block_boxes, block_gt)
        if len(block_features) != len(targets):
            raise ValueError(f"features: expected {len(targets)} rows, one a box, got {len(block_features)}")
        if len(targets):
            system.add(block_features, targets)
    if not system.targets:
        raise ValueError("boxes: there is no window to learn box regression from")
    targets = np.concatenate(system.targets)
    mean = targets.mean(axis=0)
    whiten, restore = _whitening(targets - mean)
    return BoxRegressor((system.solve(mean, whiten) @ restore).astype(np.float32), mean)


def training_blocks(
    images: TrainingImages, k: int, config: BoxRegressionConfig, feature_scale: float, difficult: bool = True
) -> Iterator[Block]:
    """What the regressor of class k learns from, image by image, for `fit`.

    A window belongs to the object it overlaps most, of whatever class, and serves that object's class if it
    overlaps enough (spp_train_bbox_regressor.m).

    Args:
        images: the training images.
        k: the class.
        config: the least overlap.
        feature_scale: what features are multiplied by.
        difficult: whether windows of difficult objects count.
    """
    for index, record in enumerate(images.records):
        if k not in record.labels:
            continue
        labelled = images.labelled_boxes(index)
        match = labelled.gt_overlaps.argmax(axis=1)  # (G + R,)
        overlap = labelled.gt_overlaps.max(axis=1)
        enough = overlap > config.min_iou if config.strict else overlap >= config.min_iou
        chosen = enough & (labelled.labels[match] == k) & (difficult | ~labelled.difficult[match])
        boxes = labelled.boxes[chosen]
        if len(boxes):
            pooled = images.pool(index, boxes) * np.float32(feature_scale)
            yield pooled, boxes, record.boxes[match[chosen]]


def _whitening(centered: Floats) -> tuple[Floats, Floats]:
    """(T, T^-1), symmetric (4, 4): centred targets times T have about unit covariance."""
    values, vectors = np.linalg.eigh(centered.T @ centered / len(centered))
    spread = np.sqrt(np.maximum(values, 0) + WHITENING)
    return (vectors / spread) @ vectors.T, (vectors * spread) @ vectors.T


class _RidgeSystem:
    """(X'X + ridge I) b = X'(T - mean) M for rows that arrive in blocks; X ends in a column of ones.

    While there are fewer rows than columns they are kept, for the smaller dual system
    b = X'(XX' + ridge I)^-1 (T - mean) M; from then on they are folded into the Gram matrix X'X. Sums are of the
    features' precision: single precision is enough, since the ridge bounds the condition number.
    """

    def __init__(self, ridge: float) -> None:
        self.ridge = ridge
        self.targets: list[Floats] = []  # of all rows
        self._buffer: list[NDArray[np.floating]] = []  # rows not folded yet
        self._gram: NDArray[np.floating] | None = None  # (D + 1, D + 1), upper triangle
        self._product: Floats | None = None  # X'T, (D + 1, 4)

    def add(self, features: NDArray[np.floating], targets: Floats) -> None:
        """Take n rows."""
        self._buffer.append(np.pad(features, ((0, 0), (0, 1)), constant_values=1))
        self.targets.append(targets)
        enough = features.shape[1] + 1 if self._gram is None else FOLD_ROWS
        if sum(map(len, self._buffer)) >= enough:
            self._fold()

    def _fold(self) -> None:
        x = np.concatenate(self._buffer)  # (n, D + 1)
        t = np.concatenate(self.targets)[-len(x) :]
        self._buffer = []
        if self._gram is None:
            self._gram = np.zeros((x.shape[1], x.shape[1]), x.dtype, order="F")
            self._product = np.zeros((x.shape[1], 4))
        (syrk,) = linalg.get_blas_funcs(("syrk",), (x,))
        self._gram = syrk(1.0, x.T, beta=1.0, c=self._gram, overwrite_c=True)
        self._product += x.T @ t.astype(x.dtype)

    def solve(self, mean: Floats, whiten: Floats) -> Floats:
        """Coefficients of the whitened targets: float64 (D + 1, 4). The system is used up."""
        if self._gram is None:
            x = np.concatenate(self._buffer)
            y = (np.concatenate(self.targets) - mean) @ whiten
            return x.T.astype(np.float64) @ _solve(x @ x.T, y, self.ridge)
        if self._buffer:
            self._fold()
        y = (self._product - np.outer(self._gram[:, -1], mean)) @ whiten  # last column: X'1
        return _solve(self._gram, y, self.ridge)


def _solve(gram: NDArray[np.floating], right: Floats, ridge: float) -> Floats:
    """(gram + ridge I)^-1 right by Cholesky, of the upper triangle; overwrites `gram`."""
    gram[np.diag_indices_from(gram)] += ridge
    factor = linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    return linalg.cho_solve(factor, right.astype(gram.dtype), check_finite=False).astype(np.float64)
