"""Scores of the fine-tuned classifier itself, instead of SVMs (Fast R-CNN's Table 8 compares the two)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from detection.weights.state_dict import read_state

SCORE_THRESHOLD = 0.001  # probabilities below it are no detections; SVM margins have a threshold of their own


@dataclass(frozen=True, eq=False)
class SoftmaxClassifier:
    """The (K + 1)-way softmax layer of a fine-tuned network, in the place of `LinearDetectors`.

    Attributes:
        weights: float32 (K + 1, D), background first.
        bias: float32 (K + 1,).
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.weights) - 1

    def scores(self, features: NDArray[np.float32] | torch.Tensor) -> NDArray[np.float32]:
        """Probability of each class, background left out: (N, D) -> float32 (N, K)."""
        logits = torch.as_tensor(features).cpu() @ torch.from_numpy(self.weights.T) + torch.from_numpy(self.bias)
        prob: NDArray[np.float32] = logits.softmax(dim=1).numpy()  # (N, K + 1)
        return prob[:, 1:]

    @classmethod
    def load(cls, path: Path, n_classes: int) -> SoftmaxClassifier:
        """The layer that fine-tuning left.

        Raises:
            ValueError: the file is damaged, or of another number of classes.
            OSError: it cannot be read.
        """
        state = read_state(path)
        if set(state) != {"weight", "bias"} or len(state["bias"]) != n_classes + 1:
            found = len(state["bias"]) - 1 if "bias" in state else "none"
            raise ValueError(f"{path}: expected a softmax layer of {n_classes} classes, got {found}; fine-tune again")
        return cls(state["weight"].numpy(), state["bias"].numpy())
