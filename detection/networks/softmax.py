"""Scores of the fine-tuned softmax layer, used instead of SVMs (Fast R-CNN, Table 8, compares the two)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from detection.linear_detectors import LinearDetectors
from detection.weights.state_dict import check_finite, read_state

SCORE_THRESHOLD = 0.001  # detections have at least this probability; SVM margins have their own threshold


@dataclass(frozen=True, eq=False)
class SoftmaxClassifier:
    """The (K + 1)-way softmax layer of a fine-tuned network, used instead of `LinearDetectors`.

    Attributes:
        weights: float32 (K + 1, D), one row per class, background first.
        bias: float32 (K + 1,).
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def n_classes(self) -> int:
        """The number of classes K, without the background."""
        return len(self.weights) - 1

    def scores(self, features: NDArray[np.float32] | torch.Tensor) -> NDArray[np.float32]:
        """Compute class probabilities, without the background's: (N, D) -> float32 (N, K)."""
        logits = torch.as_tensor(features).cpu() @ torch.from_numpy(self.weights.T) + torch.from_numpy(self.bias)
        prob: NDArray[np.float32] = logits.softmax(dim=1).numpy()  # (N, K + 1)
        return prob[:, 1:]

    def log_odds(self, factor: float, feature_scale: float) -> LinearDetectors:
        """Return linear classifiers whose scores are a factor times the log-odds of each class against the background.

        Args:
            factor: on the log-odds.
            feature_scale: factor on the features in SVM training.
        """
        weights = (factor / feature_scale) * (self.weights[1:] - self.weights[:1])
        bias = factor * (self.bias[1:] - self.bias[:1])
        return LinearDetectors(weights.astype(np.float32), bias.astype(np.float32), feature_scale)

    @classmethod
    def load(cls, path: Path, n_classes: int) -> SoftmaxClassifier:
        """Load the layer written by fine-tuning.

        Args:
            path: the .safetensors file.
            n_classes: the expected number of classes K.

        Raises:
            ValueError: the file is damaged, or has another number of classes or values that are not finite numbers.
            OSError: the file cannot be read.
        """
        state = read_state(path)
        if set(state) != {"weight", "bias"} or len(state["bias"]) != n_classes + 1:
            found = len(state["bias"]) - 1 if "bias" in state else "none"
            raise ValueError(f"{path}: expected a softmax layer of {n_classes} classes, got {found}; fine-tune again")
        check_finite(state, str(path))
        return cls(state["weight"].numpy(), state["bias"].numpy())
