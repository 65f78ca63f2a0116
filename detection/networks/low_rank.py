"""Compression of fc6 and fc7: each layer becomes the product of two layers of low rank.

Fast R-CNN (Girshick 2015, section 3.1) truncates the singular values of the weights. This module truncates those of the
layer's outputs on training windows, which changes the outputs least: pooled vectors are so correlated that most
directions of the weights have no effect.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detection.networks.bfloat16 import dtype_of


class LowRankLinear(nn.Module):
    """A linear layer whose weight is the product of (out_features, rank) and (rank, in_features) matrices.

    Args:
        in_features: length of the inputs.
        out_features: length of the outputs.
        rank: length of the vectors between the two matrices.
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
    """Approximate a layer by the lowest rank that keeps a share of the variance of its outputs.

    Args:
        layer: a linear layer (inputs -> width).
        outputs: float32 (N, width), outputs of the layer for a sample of inputs.
        energy: the share of variance to keep, in (0, 1].

    Returns:
        The low-rank layer, or `layer` itself if the two matrices would have more numbers, and its outputs (N, width).

    Raises:
        ValueError: `energy` is not in (0, 1], or there are no outputs.
    """
    if not 0 < energy <= 1:
        raise ValueError(f"energy: expected a share in (0, 1], got {energy}")
    if not len(outputs):
        raise ValueError("outputs: no windows to measure the layer on; give at least one")
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
    """Compress fc6 and then fc7, on the outputs of the compressed fc6, with `truncate`.

    Args:
        fc6: linear layer (inputs -> width), followed by ReLU.
        fc7: linear layer (width -> width).
        pool5: float32 (N, inputs) pooled windows, one array per image.
        energy: the share of output variance that each layer keeps, in (0, 1].

    Returns:
        The compressed fc6 and fc7.

    Raises:
        ValueError: see `truncate`.
    """
    with torch.inference_mode():
        dtype = dtype_of("bf16", fc6.weight.device)
        weight = fc6.weight.to(dtype)
        outputs = [torch.as_tensor(rows).to(dtype).matmul(weight.T).float() + fc6.bias for rows in pool5]
        low6, outputs6 = truncate(fc6, torch.cat(outputs) if outputs else torch.zeros(0, fc6.out_features), energy)
        low7, _ = truncate(fc7, fc7(outputs6.relu()), energy)
    return low6, low7
