"""The fully connected layers fc6 and fc7 between pooled windows and SVM features, and linear detectors beside them."""

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

Layer = Literal["fc6", "fc7", "pool5+fc7"]
"""What SVMs learn from."""

BOTH: Layer = "pool5+fc7"
"""fc7, followed by the margins of linear detectors of pool5."""


class FcHead(nn.Module):
    """The fully connected layers fc6 and fc7, each followed by ReLU and, in training, dropout of 0.5.

    Args:
        inputs: length of a pooled vector; 50 times the channels for pyramid levels 1, 2, 3 and 6.
        width: outputs of fc6 and fc7.

    Source: paper, section 4.1.
    """

    def __init__(self, inputs: int, width: int = 4096) -> None:
        super().__init__()
        self.fc6: nn.Linear | LowRankLinear = nn.Linear(inputs, width)
        self.fc7: nn.Linear | LowRankLinear = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.5)
        self.detectors: nn.Linear | None = None
        self.gate: nn.Parameter | None = None

    def forward(self, pool5: torch.Tensor, layer: Layer = "fc7") -> torch.Tensor:
        """Compute a layer: float32 (R, inputs) -> float32 (R, width), >= 0; with `BOTH`, K margins more."""
        if layer != BOTH:
            return self._layer(pool5, layer)
        assert self.detectors is not None
        margins = self.detectors(pool5)
        if self.gate is None:
            return torch.cat([self._layer(pool5, "fc7"), margins], dim=1)
        passed = (margins > self.gate).any(dim=1)
        if torch.compiler.is_exporting():  # a graph computes all windows
            return torch.cat([self._layer(pool5, "fc7") * passed[:, None], margins], dim=1)
        fc7 = pool5.new_zeros(len(pool5), self.fc7.out_features)
        fc7[passed] = self._layer(pool5[passed], "fc7")
        return torch.cat([fc7, margins], dim=1)

    def _layer(self, pool5: torch.Tensor, layer: Layer) -> torch.Tensor:
        fc6: torch.Tensor = self.dropout(self.fc6(pool5).relu())
        return fc6 if layer == "fc6" else self.dropout(self.fc7(fc6).relu())

    def with_detectors(self, weights: NDArray[np.float32] | None, gate: NDArray[np.float32] | None = None) -> FcHead:
        """Return the same layers with linear detectors of pool5 beside them.

        Args:
            weights: float32 (K, inputs), for unscaled features; None: without detectors.
            gate: float32 (K,): fc7 of a window whose margins by the detectors are nowhere above it is not computed, but
                zero; None: fc7 of all windows is computed.
        """
        with torch.device("meta"):  # without memory and random numbers
            head = FcHead(1, 1)
            head.detectors = None if weights is None else nn.Linear(weights.shape[1], len(weights), bias=False)
        head.fc6, head.fc7 = self.fc6, self.fc7
        if head.detectors is not None:
            head.detectors.weight = nn.Parameter(torch.from_numpy(weights))
        head.gate = None if gate is None else nn.Parameter(torch.from_numpy(gate), requires_grad=False)
        return head.eval()

    def plain(self) -> FcHead:
        """Return a head for inference without batch normalisation; here the head itself."""
        return self

    def compressed(self, pool5: Iterable[NDArray[np.float32]], energy: float) -> FcHead:
        """Return a smaller head for inference with nearly the same outputs; see `low_rank.compress`.

        Args:
            pool5: float32 (N, inputs) pooled windows that represent the inputs, one array per image.
            energy: the share of output variance that each layer keeps, in (0, 1].

        Raises:
            ValueError: `energy` is not in (0, 1], there are no windows, or the head is compressed already.
        """
        if isinstance(self.fc6, LowRankLinear) or isinstance(self.fc7, LowRankLinear):
            raise ValueError("head: already compressed; compress the original head")
        with torch.device("meta"):
            low = FcHead(1, 1)
        low.fc6, low.fc7 = compress(self.fc6, self.fc7, pool5, energy)
        low.detectors, low.gate = self.detectors, self.gate
        return low.eval()

    def save(self, path: Path) -> None:
        """Write the weights to a .safetensors file, atomically.

        Raises:
            OSError: the file cannot be written.
        """
        write_state(path, self.state_dict())

    @classmethod
    def load(cls, path: Path) -> FcHead:
        """Load a head for inference; the tensors in the file define its sizes.

        Raises:
            ValueError: the file is damaged or has other tensors.
            OSError: the file cannot be read.
        """
        return cls.of(read_state(path), str(path))

    @classmethod
    def of(cls, state: Mapping[str, torch.Tensor | NDArray[np.float32]], what: str) -> FcHead:
        """Build a head for inference from a state dict.

        Args:
            state: tensors or arrays by name.
            what: description of the source, for error messages.

        Raises:
            ValueError: tensors are missing, have other shapes or values that are not finite numbers.
        """
        tensors = {name: torch.as_tensor(values) for name, values in state.items()}
        with torch.device("meta"):
            head = cls(1, 1)
            head.fc6, head.fc7 = (_layer(tensors, name, what) for name in ("fc6", "fc7"))
            beside = tensors.get("detectors.weight")
            if beside is not None and beside.ndim == 2:
                head.detectors = nn.Linear(beside.shape[1], len(beside), bias=False)
                head.gate = nn.Parameter(torch.empty(len(beside))) if "gate" in tensors else None
        assign(head, tensors, what)
        head._check_sizes(what)
        return head.eval()

    def _check_sizes(self, what: str) -> None:
        """Raise ValueError unless each layer takes what the one before it gives."""
        takes, gives = self.fc7.in_features, self.fc6.out_features
        beside = self.fc6.in_features if self.detectors is None else self.detectors.in_features
        if takes != gives or beside != self.fc6.in_features:
            raise ValueError(
                f"{what}: fc7 takes {takes} values and fc6 gives {gives}; fc6 takes {self.fc6.in_features} and the "
                f"detectors beside it {beside}; give layers that fit each other"
            )

    @classmethod
    def random(cls, inputs: int, width: int = 4096, seed: int = 0) -> FcHead:
        """Build a head for inference with torch's default initialisation, without changing torch's global generator.

        Args:
            inputs: length of a pooled vector.
            width: outputs of fc6 and fc7.
            seed: random seed.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(inputs, width).eval()


def _layer(tensors: Mapping[str, torch.Tensor], name: str, what: str) -> nn.Linear | LowRankLinear:
    """Build a layer with the sizes of the tensors."""
    whole, reduce, expand = (tensors.get(f"{name}.{part}") for part in ("weight", "reduce.weight", "expand.weight"))
    if whole is not None and whole.ndim == 2:
        return nn.Linear(whole.shape[1], whole.shape[0])
    if reduce is not None and expand is not None and reduce.ndim == expand.ndim == 2:
        return LowRankLinear(reduce.shape[1], expand.shape[0], reduce.shape[0])
    raise ValueError(
        f"{what}: expected {name}.weight of shape (outputs, inputs), got {sorted(tensors)[:4]}; give layers fc6 and fc7"
    )


class NormalizedHead(FcHead):
    """A head for training from random weights: He's initialisation, batch normalisation before each ReLU.

    The paper's layers start from ImageNet weights. From random weights, layers without normalisation learn an order of
    magnitude slower with the same schedule. After training, `plain` folds the normalisation into the layers. The
    arguments are those of `FcHead`.
    """

    def __init__(self, inputs: int, width: int = 4096) -> None:
        super().__init__(inputs, width)
        self.norm6, self.norm7 = nn.BatchNorm1d(width), nn.BatchNorm1d(width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, pool5: torch.Tensor, layer: Layer = "fc7") -> torch.Tensor:
        """Compute the output of fc6 or fc7, see `FcHead.forward`."""
        fc6: torch.Tensor = self.dropout(self.norm6(self.fc6(pool5)).relu())
        return fc6 if layer == "fc6" else self.dropout(self.norm7(self.fc7(fc6)).relu())

    def plain(self) -> FcHead:
        """Return a head for inference with the normalisation's running statistics folded into its layers."""
        head = FcHead(self.fc6.in_features, self.fc6.out_features)
        for name, norm in (("fc6", self.norm6), ("fc7", self.norm7)):
            head.set_submodule(name, fuse_linear_bn_eval(getattr(self, name).eval(), norm.eval()))
        return head.eval()


class FcFeatures:
    """Features of pooled windows for SVMs that are trained on fully connected layers.

    Args:
        head: the layers, in inference mode.
        layer: "fc6", "fc7" or `BOTH`, for which the head has detectors.
        precision: "fp32", or "bf16" for bfloat16 products on devices that support them.
    """

    def __init__(self, head: FcHead, layer: Layer, precision: Precision = "fp32") -> None:
        self.head, self.layer, self.precision = head, layer, precision
        self._layers, self._placed = head, (torch.device("cpu"), "fp32")

    @cached_property
    def digest(self) -> str:
        """Digest of layer, precision and weights; equal digests mean equal features."""
        return f"{self.layer} {self.precision} {sha256_of_state(self.head.state_dict())}"

    @property
    def length(self) -> int:
        """D, the length of the features."""
        head = self.head
        if self.layer == "fc6":
            return head.fc6.out_features
        beside = head.detectors.out_features if self.layer == BOTH and head.detectors is not None else 0
        return head.fc7.out_features + beside

    def dtype_on(self, device: torch.device) -> torch.dtype:
        """Return the type of the numbers that the layers compute with on a device."""
        return dtype_of(self.precision, device)

    def __call__(self, pool5: NDArray[np.float32] | torch.Tensor) -> NDArray[np.float32] | torch.Tensor:
        """Compute features: (R, inputs) -> float32 (R, D), an array or a tensor on its device as `pool5`.

        Raises:
            ValueError: the length of the pooled vectors is not that of the head's inputs.
        """
        if pool5.shape[1] != self.head.fc6.in_features:
            raise ValueError(
                f"head: expected pooled vectors of length {self.head.fc6.in_features}, got {pool5.shape[1]}; "
                "use a head of this network and these pyramid levels"
            )
        tensor = torch.as_tensor(pool5)
        with torch.inference_mode():
            layers = self._ready(tensor.device)
            features = layers(tensor.to(next(layers.parameters()).dtype), self.layer).float()
        return features if isinstance(pool5, torch.Tensor) else features.numpy()

    def _ready(self, device: torch.device) -> FcHead:
        """Return the layers on a device in the precision of the products; they are copied on the first call."""
        if self._placed != (device, self.precision):
            self._layers = copy.deepcopy(self.head).to(device, dtype_of(self.precision, device))
            self._placed = (device, self.precision)
        return self._layers
