"""State dicts (tensors by name): reading, writing and assigning to modules."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from detection.files import write_atomically
from detection.weights.half_precision import FACTOR, from_half

State = Mapping[str, torch.Tensor]
INFINITE = ("gate",)  # of a fully connected head: above which margins fc7 is computed, minus infinity for always


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a .safetensors file or a state dict written by `torch.save`, without executing pickled code.

    Tensors in half precision, as packed models have them, are converted to float32.

    Raises:
        ValueError: the file is damaged or has no state dict.
        OSError: the file cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            return _whole(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError) as error:
        reason = (str(error).splitlines() or ["unexpected end of file"])[0]
        raise ValueError(
            f"{path}: not readable as weights ({reason}); give a .safetensors file or a state dict saved by torch.save"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise ValueError(f"{path}: expected tensors by name, got {type(state).__name__}; save model.state_dict()")
    return dict(state)


def _whole(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Undo `half_precision.to_half`, if a state dict has factors."""
    if not any(name.endswith(FACTOR) for name in state):
        return state
    return {
        name: torch.from_numpy(array) for name, array in from_half({n: t.numpy() for n, t in state.items()}).items()
    }


def write_state(path: Path, state: State) -> None:
    """Write tensors to a .safetensors file, atomically; a missing folder is created.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [save({name: tensor.contiguous() for name, tensor in state.items()})])


def check_finite(state: State, what: str, infinite: Collection[str] = ()) -> None:
    """Check that tensors hold numbers.

    Args:
        state: tensors by name.
        what: description of the source, for error messages.
        infinite: names of tensors whose values may be infinite.

    Raises:
        ValueError: a value is NaN, or infinite; the line names the tensor.
    """
    for name, tensor in state.items():
        bad = tensor.isnan() if name in infinite else ~tensor.isfinite()
        if tensor.is_floating_point() and not tensor.is_meta and bad.any():
            raise ValueError(
                f"{what}: {name} holds {int(bad.sum())} values that are not finite numbers; use other weights"
            )


def assign(module: nn.Module, state: State, what: str) -> None:
    """Replace a module's tensors, with floating-point tensors converted to float32.

    Args:
        module: the module, which may be on the meta device. It takes over float32 tensors without a copy.
        state: tensors by name.
        what: description of the source, for error messages.

    Raises:
        ValueError: names or shapes differ, or a value is not a finite number.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            raise ValueError(
                f"{what}: {name}: expected {expected.get(name, 'no such tensor')}, "
                f"got {got.get(name, 'no such tensor')}; give weights of this network"
            )
    check_finite(state, what, INFINITE)
    floats = {name: t.float() if t.is_floating_point() else t for name, t in state.items()}
    module.load_state_dict(floats, assign=True)
