"""A subspace of pool5 that training windows span, in which fc6 learns with a fraction of the weights.

Pooled windows of photos are so correlated that 2,048 of them span 95 % of the squared norm of others. The weights of a
layer change in the directions of the windows that it learns from, so a layer that learns in their span learns what it
would learn on all of pool5, eight times faster with 16,000 numbers per window.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detection.networks.bfloat16 import has_bfloat16
from detection.networks.fc_head import FcHead

SMALLEST = 1e-5  # of the largest eigenvalue; directions below it are noise
Rows = NDArray[np.floating] | torch.Tensor


@dataclass(frozen=True, eq=False)
class Subspace:
    """An orthonormal basis of some directions of pool5.

    Attributes:
        basis: float32 (N, D), one direction per row.
    """

    basis: torch.Tensor

    @classmethod
    def spanned_by(cls, windows: Rows) -> Subspace:
        """Return the span of pooled windows, float (W, D), without directions that hardly occur: N <= W.

        Raises:
            ValueError: all windows are zero, or there are none.
        """
        rows = torch.as_tensor(windows).float()
        values, vectors = torch.linalg.eigh((rows @ rows.T).double()) if len(rows) else (torch.zeros(1), rows)
        if not values[-1] > 0:
            raise ValueError("subspace: all pooled windows are zero; check the photos and the weights of the network")
        kept = values > SMALLEST * values[-1]
        turn = (vectors[:, kept] / values[kept].sqrt()).float()  # (W, N)
        return cls(turn.T @ rows)

    def __len__(self) -> int:
        """Number of directions N."""
        return len(self.basis)

    @cached_property
    def digest(self) -> str:
        """Digest of the basis."""
        return hashlib.sha256(self.basis.contiguous().numpy().tobytes()).hexdigest()

    def project(self, pool5: torch.Tensor) -> torch.Tensor:
        """Return the coordinates of pooled windows, (R, D) -> float32 (R, N)."""
        with torch.no_grad():
            return (pool5.to(self._directions.dtype) @ self._directions).float()

    @cached_property
    def _directions(self) -> torch.Tensor:
        """The basis as (D, N), in the precision of the products."""
        dtype = torch.bfloat16 if has_bfloat16(self.basis.device) else torch.float32
        return self.basis.T.to(dtype).contiguous()

    def expand(self, head: FcHead) -> FcHead:
        """Return layers of pool5 that compute what layers of its coordinates compute.

        Args:
            head: layers for inference, whose fc6 has N inputs.
        """
        assert isinstance(head.fc6, nn.Linear)
        with torch.device("meta"):  # without memory and random numbers
            whole = FcHead(1, 1)
            whole.fc6 = nn.Linear(self.basis.shape[1], head.fc6.out_features)
        with torch.inference_mode(False), torch.no_grad():
            whole.fc6.weight = nn.Parameter(head.fc6.weight @ self.basis)
            whole.fc6.bias = nn.Parameter(head.fc6.bias.clone())
        whole.fc7 = head.fc7
        return whole.eval()
