"""fc6 and fc7 in fewer numbers: each layer as the product of two thin ones.

Fast R-CNN (Girshick 2015, section 3.1) truncates the singular values of the weights. Here those of the layer's outputs
on training windows are truncated, which loses least of what the layer says about windows: pooled vectors are so
correlated that most directions of the weights never act.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


class LowRankLinear(nn.Module):
    """A linear layer in two steps: to `rank` numbers, and from them to the outputs and their bias.

    Args:
        in_features: length of its inputs.
        out_features: length of its outputs.
        rank: between the two.
    """

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.reduce = nn.Linear(in_features, rank, bias=False)
        self.expand = nn.Linear(rank, out_features)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """float32 (N, in_features) -> float32 (N, out_features)."""
        outputs: torch.Tensor = self.expand(self.reduce(inputs))
        return outputs


def truncate(layer: nn.Linear, outputs: torch.Tensor, energy: float) -> tuple[nn.Linear | LowRankLinear, torch.Tensor]:
    """A layer of the lowest rank that keeps a share of the variance of the outputs.

    Args:
        layer: (inputs -> width).
        outputs: float32 (N, width), of the layer on a sample of its inputs.
        energy: the share, in (0, 1].

    Returns:
        the layer of that rank, or `layer` itself where two thin layers would hold more numbers; and its outputs.

    Raises:
        ValueError: the share is not in (0, 1], or there are no outputs.
    """
    if not 0 < energy <= 1:
        raise ValueError(f"energy: expected a share above 0 and at most 1, got {energy}")
    if not len(outputs):
        raise ValueError("outputs: there is no window to measure the layer on")
    mean = outputs.mean(dim=0)
    centered = (outputs - mean).double()
    variances, directions = torch.linalg.eigh(centered.T @ centered)  # ascending
    kept = variances.clamp(min=0).flip(0).cumsum(0)
    rank = min(int((kept < energy * kept[-1]).sum()) + 1, len(kept))
    if rank * (layer.in_features + layer.out_features) >= layer.weight.numel():
        return layer, outputs
    basis = directions.flip(1)[:, :rank].float()  # (width, rank)
    low = LowRankLinear(layer.in_features, layer.out_features, rank)
    with torch.no_grad():
        low.reduce.weight.copy_(basis.T @ layer.weight)
        low.expand.weight.copy_(basis)
        low.expand.bias.copy_(mean - basis @ (basis.T @ (mean - layer.bias)))
    return low, mean + (outputs - mean) @ basis @ basis.T


def compress(
    fc6: nn.Linear, fc7: nn.Linear, pool5: Iterable[NDArray[np.float32]], energy: float
) -> tuple[nn.Linear | LowRankLinear, nn.Linear | LowRankLinear]:
    """Both layers by `truncate`, fc7 on what the new fc6 gives it.

    Args:
        fc6: (inputs -> width), followed by ReLU.
        fc7: (width -> width).
        pool5: float32 (N, inputs) pooled windows of some images, image by image.
        energy: share of variance that each layer keeps.

    Raises:
        ValueError: as `truncate`.
    """
    with torch.inference_mode():
        outputs = [fc6(torch.as_tensor(rows)) for rows in pool5]
        low6, outputs6 = truncate(fc6, torch.cat(outputs) if outputs else torch.zeros(0, fc6.out_features), energy)
        low7, _ = truncate(fc7, fc7(outputs6.relu()), energy)
    return low6, low7
