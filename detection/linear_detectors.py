"""Linear classifiers of window features: what SVM training makes and detection uses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from detection.networks.fc_head import BOTH, FcFeatures

GATE = np.float32(-1.5)  # of windows with a lower margin on pool5, 3 of 1,000 are within the mean margin


@dataclass(frozen=True, eq=False)
class LinearDetectors:
    """K linear classifiers of window features.

    Attributes:
        weights: float32 (K, D), one row per class, for features multiplied by `feature_scale`.
        bias: float32 (K,); minus infinity for a class without positives.
        feature_scale: factor that makes the mean L2 norm of the training features 20.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    feature_scale: float

    @property
    def n_classes(self) -> int:
        """Number of classes K."""
        return len(self.weights)

    def scores(self, features: NDArray[np.float32] | torch.Tensor) -> NDArray[np.float32]:
        """Return the margins: float32 (N, K).

        Args:
            features: float32 (N, D), unscaled, an array or a tensor on any device; or a tensor of bfloat16.
        """
        if isinstance(features, torch.Tensor):
            weights = torch.from_numpy(self._scaled_weights).to(features)
            return (features @ weights).float().cpu().numpy() + self.bias
        return features @ self._scaled_weights + self.bias

    def __add__(self, other: LinearDetectors) -> LinearDetectors:
        """Return classifiers whose scores are sums: of these and of others of the same classes and features.

        Raises:
            ValueError: they are of other features.
        """
        if self.feature_scale != other.feature_scale or self.weights.shape != other.weights.shape:
            raise ValueError("linear detectors: only those of the same classes and features can be added")
        return LinearDetectors(self.weights + other.weights, self.bias + other.bias, self.feature_scale)

    @cached_property
    def _scaled_weights(self) -> NDArray[np.float32]:
        """Weights of unscaled features: float32 (D, K)."""
        return self.weights.T * np.float32(self.feature_scale)


def mean_of(pool5: LinearDetectors, fc7: LinearDetectors, layers: FcFeatures) -> tuple[LinearDetectors, FcFeatures]:
    """Return classifiers whose margins are the means of those on pool5 and of those on fc7.

    Trained apart, the two make different mistakes. Trained together on both features, SVMs would rely on pool5 alone,
    whose many values separate the training windows of a small data set. fc7 is not computed of windows that all
    classifiers of pool5 reject by a margin below `GATE`, and counts as zero.

    Args:
        pool5: K classifiers of pooled windows.
        fc7: those of the same classes on fc7.
        layers: fc6 and fc7.

    Returns:
        the classifiers; and the layers with those of pool5 beside them, whose features they use.
    """
    head = layers.head.with_detectors(pool5.weights * np.float32(pool5.feature_scale), GATE - pool5.bias)
    halves = np.eye(pool5.n_classes, dtype=np.float32) / np.float32(2 * fc7.feature_scale)
    weights = np.concatenate([fc7.weights / np.float32(2), halves], axis=1)
    bias = (pool5.bias + fc7.bias) / np.float32(2)
    return LinearDetectors(weights, bias, fc7.feature_scale), FcFeatures(head, BOTH, layers.precision)
