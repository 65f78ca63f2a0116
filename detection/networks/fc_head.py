"""The two fully connected layers between a pooled window and its SVM features."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from detection.config import Precision
from detection.networks.bfloat16 import dtype_of
from detection.networks.low_rank import LowRankLinear, compress
from detection.weights.pretrained import sha256_of_state
from detection.weights.state_dict import assign, read_state, write_state

Layer = Literal["fc6", "fc7"]


class FcHead(nn.Module):
    """pool5 -> fc6 -> fc7, each followed by ReLU and, in training, dropout of one half (paper, section 4.1).

    Args:
        inputs: length of a pooled vector, 50 times the channels for the four levels.
        width: of fc6 and fc7.
    """

    def __init__(self, inputs: int, width: int = 4096) -> None:
        super().__init__()
        self.fc6: nn.Linear | LowRankLinear = nn.Linear(inputs, width)
        self.fc7: nn.Linear | LowRankLinear = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.5)

    def forward(self, pool5: torch.Tensor, layer: Layer = "fc7") -> torch.Tensor:
        """Features of a layer: float32 (R, inputs) -> float32 (R, width), >= 0."""
        fc6: torch.Tensor = self.dropout(self.fc6(pool5).relu())
        return fc6 if layer == "fc6" else self.dropout(self.fc7(fc6).relu())

    def plain(self) -> FcHead:
        """The same function by these two layers alone; the head itself."""
        return self

    def compressed(self, pool5: Iterable[NDArray[np.float32]], energy: float) -> FcHead:
        """A head of fewer numbers that says nearly the same, for inference; see `low_rank.compress`.

        Args:
            pool5: float32 (N, inputs) pooled windows to measure the layers on, image by image.
            energy: share of the variance of its outputs that each layer keeps.

        Raises:
            ValueError: the share is not in (0, 1], there is no window, or the head is compressed already.
        """
        if isinstance(self.fc6, LowRankLinear) or isinstance(self.fc7, LowRankLinear):
            raise ValueError("head: is compressed already; compress the one it was made of")
        low = FcHead(1, 1)
        low.fc6, low.fc7 = compress(self.fc6, self.fc7, pool5, energy)
        return low.eval()

    def save(self, path: Path) -> None:
        """Write the weights as safetensors, atomically.

        Raises:
            OSError: the file cannot be written.
        """
        write_state(path, self.state_dict())

    @classmethod
    def load(cls, path: Path) -> FcHead:
        """A head for inference from a file; its sizes are those of the tensors.

        Raises:
            ValueError: the file is damaged or holds something else.
            OSError: it cannot be read.
        """
        return cls.of(read_state(path), str(path))

    @classmethod
    def of(cls, state: Mapping[str, torch.Tensor | NDArray[np.float32]], what: str) -> FcHead:
        """A head for inference from tensors or arrays by name; `what` they are, for the message of a ValueError."""
        tensors = {name: torch.as_tensor(values) for name, values in state.items()}
        with torch.device("meta"):
            head = cls(1, 1)
            head.fc6, head.fc7 = (_layer(tensors, name, what) for name in ("fc6", "fc7"))
        assign(head, tensors, what)
        return head.eval()

    @classmethod
    def random(cls, inputs: int, width: int = 4096, seed: int = 0) -> FcHead:
        """A head for inference with torch's own random start, the same for a seed; the global generator is left be."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(inputs, width).eval()


def _layer(tensors: Mapping[str, torch.Tensor], name: str, what: str) -> nn.Linear | LowRankLinear:
    """A layer of the sizes that the tensors have."""
    whole, reduce, expand = (tensors.get(f"{name}.{part}") for part in ("weight", "reduce.weight", "expand.weight"))
    if whole is not None and whole.ndim == 2:
        return nn.Linear(whole.shape[1], whole.shape[0])
    if reduce is not None and expand is not None and reduce.ndim == expand.ndim == 2:
        return LowRankLinear(reduce.shape[1], expand.shape[0], reduce.shape[0])
    raise ValueError(f"{what}: expected a head with an (outputs, inputs) {name}.weight, got {sorted(tensors)[:4]}")


class NormalizedHead(FcHead):
    """A head to train from random numbers: He's start, and batch normalisation before each ReLU.

    The paper's layers start from ImageNet's. From random numbers plain layers learn an order of magnitude slower
    under the same schedule. Once trained, the normalisation is an affine map like the layer before it: `plain`.
    Arguments as `FcHead`.
    """

    def __init__(self, inputs: int, width: int = 4096) -> None:
        super().__init__(inputs, width)
        self.norm6, self.norm7 = nn.BatchNorm1d(width), nn.BatchNorm1d(width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, pool5: torch.Tensor, layer: Layer = "fc7") -> torch.Tensor:
        """As `FcHead.forward`."""
        fc6: torch.Tensor = self.dropout(self.norm6(self.fc6(pool5)).relu())
        return fc6 if layer == "fc6" else self.dropout(self.norm7(self.fc7(fc6)).relu())

    def plain(self) -> FcHead:
        """A head for inference with the normalisation's running statistics folded into its layers."""
        head = FcHead(self.fc6.in_features, self.fc6.out_features)
        for name, norm in (("fc6", self.norm6), ("fc7", self.norm7)):
            head.set_submodule(name, fuse_linear_bn_eval(getattr(self, name).eval(), norm.eval()))
        return head.eval()


class FcFeatures:
    """What SVMs see of pooled windows when they learn from fc6 or fc7.

    Args:
        head: the layers, for inference.
        layer: "fc6" or "fc7".
        precision: of the products, "fp32" or "bf16" (where the device has it), as that of the convolutions.
    """

    def __init__(self, head: FcHead, layer: Layer, precision: Precision = "fp32") -> None:
        self.head, self.layer, self.precision = head, layer, precision
        self._layers, self._made = head, (torch.device("cpu"), "fp32")

    @cached_property
    def digest(self) -> str:
        """Of layer, precision and weights: equal digests give equal features."""
        return f"{self.layer} {self.precision} {sha256_of_state(self.head.state_dict())}"

    def __call__(self, pool5: NDArray[np.float32] | torch.Tensor) -> NDArray[np.float32] | torch.Tensor:
        """Features of the layer: float32 (R, inputs) -> float32 (R, width), of the kind and device of `pool5`.

        Raises:
            ValueError: the pooled vectors are not as long as the head expects.
        """
        if pool5.shape[1] != self.head.fc6.in_features:
            raise ValueError(
                f"head: expects pooled vectors of {self.head.fc6.in_features}, got {pool5.shape[1]}; "
                "take a head of this network and these pyramid levels"
            )
        tensor = torch.as_tensor(pool5)
        with torch.inference_mode():
            layers = self._ready(tensor.device)
            features = layers(tensor.to(next(layers.parameters()).dtype), self.layer).float()
        return features if isinstance(pool5, torch.Tensor) else features.numpy()

    def _ready(self, device: torch.device) -> FcHead:
        """The layers where they are needed, in the precision of the products; made on first use."""
        if self._made != (device, self.precision):
            self._layers = copy.deepcopy(self.head).to(device, dtype_of(self.precision, device))
            self._made = (device, self.precision)
        return self._layers
