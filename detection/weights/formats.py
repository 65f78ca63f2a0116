"""Readers for the weight formats of distributions; no stored code is executed."""

from __future__ import annotations

import io
import pickle
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.weights.archives import Distribution

Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Checkpoint(ABC):
    """A network's weights in a distribution.

    Attributes:
        distribution: the distribution with the weights.
        member: path of the weights' file in the archive.
        sha256: SHA-256 of that file, in hexadecimal.
        state_sha256: SHA-256 of the tensors that `read` gives, as `pretrained.sha256_of_state` computes it.
    """

    distribution: Distribution
    member: str
    sha256: str
    state_sha256: str

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor by the name that `read` gives it."""

    @abstractmethod
    def read(self, data: bytes) -> Arrays:
        """Read float32 kernels (out, in, k, k) and biases (out,) from the bytes of the file.

        Raises:
            ValueError: the bytes do not contain these tensors.
        """


@dataclass(frozen=True)
class PickledConvs(Checkpoint):
    """A pickled dictionary of numpy arrays with kernels (k, k, in, out).

    Attributes:
        root: key of the convolutions in the dictionary.
        convs: (index in torchvision's `features`, output channels, input channels, kernel side) of each layer.
    """

    root: str
    convs: tuple[tuple[int, int, int, int], ...]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        weights = {f"features.{i}.weight": (out, into, k, k) for i, out, into, k in self.convs}
        return weights | {f"features.{i}.bias": (out,) for i, out, _, _ in self.convs}

    def read(self, data: bytes) -> Arrays:
        layers = restricted_loads(data)[self.root]
        state: Arrays = {}
        for position, (index, *_) in enumerate(self.convs):
            layer = layers[f"Conv_{position}"]
            state[f"features.{index}.weight"] = _torch_layout(layer["kernel"])
            state[f"features.{index}.bias"] = np.ascontiguousarray(layer["bias"], np.float32)
        if {k: v.shape for k, v in state.items()} != self.shapes():
            raise ValueError(f"{self.member}: expected the layers of {self.root}, got other names or shapes")
        return state


@dataclass(frozen=True)
class EfficientNetLite(Checkpoint):
    """A state dict written by torch.save, with batch normalisation after each convolution.

    `read` folds the normalisation into the convolutions.

    Attributes:
        network: name of the built-in network with these layers.
    """

    network: str

    def shapes(self) -> dict[str, tuple[int, ...]]:
        import torch

        from detection.networks.built_in import NETWORKS

        with torch.device("meta"):
            return {name: tuple(tensor.shape) for name, tensor in NETWORKS[self.network].layers().state_dict().items()}

    def read(self, data: bytes) -> Arrays:
        import torch

        stored = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        state: Arrays = {}
        for name in (n.removesuffix(".weight") for n in self.shapes() if n.endswith(".weight")):
            conv, norm = _efficientnet_names(name)
            mean, var, gain, shift = (
                stored[f"{norm}.{part}"].double() for part in ("running_mean", "running_var", "weight", "bias")
            )
            factor = gain / torch.sqrt(var + BATCH_NORM_EPSILON)  # (out,)
            kernel = stored[f"{conv}.weight"] * factor[:, None, None, None]
            state[f"{name}.weight"] = np.ascontiguousarray(kernel.numpy(), np.float32)  # stored channels-last
            state[f"{name}.bias"] = (shift - mean * factor).float().numpy()
        if {k: v.shape for k, v in state.items()} != self.shapes():
            raise ValueError(f"{self.member}: expected the layers of {self.network}, got other names or shapes")
        return state


BATCH_NORM_EPSILON = 1e-3  # EfficientNet's; torch's own is 1e-5


def _efficientnet_names(name: str) -> tuple[str, str]:
    """Return the names of a convolution, such as "blocks.3.expand", and of its normalisation in the package."""
    *block, layer = name.split(".")
    place = f"_{'.'.join(block)}." if block else ""
    kind, norm = {
        "stem": ("_conv_stem", "_bn0"),
        "expand": ("_expand_conv", "_bn0"),
        "depthwise": ("_depthwise_conv", "_bn1"),
        "project": ("_project_conv", "_bn2"),
    }[layer]
    return place + kind, place + norm


def _torch_layout(kernel: NDArray[Any]) -> NDArray[np.float32]:
    """Transpose a kernel (k, k, in, out) -> float32 (out, in, k, k)."""
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1), np.float32)


class _NumpyUnpickler(pickle.Unpickler):
    """Unpickler for numpy arrays in built-in containers; it refuses other globals before looking them up."""

    allowed = {  # noqa: RUF012
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # numpy 2 renamed numpy.core; take the constructor of this numpy from an array's pickle
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise ValueError(f"pickle refers to {module}.{name}: only numpy arrays are allowed")
        return self.allowed[module, name]


def restricted_loads(data: bytes) -> Any:
    """Unpickle dictionaries of numpy arrays.

    Raises:
        ValueError: the pickle refers to other types or functions.
    """
    return _NumpyUnpickler(io.BytesIO(data)).load()
