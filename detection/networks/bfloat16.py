"""Products in bfloat16 where the device has them; in single precision where they would be emulated.

Emulating takes 20 times as long as single precision for convolutions, 250 times for matrix products (AVX2), and is less
exact.
"""

from __future__ import annotations

import torch

from detection.config import Precision


def has_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are faster than in single precision there."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())


def autocast(device: torch.device, bfloat16: bool = True) -> torch.autocast:
    """A context of products in bfloat16, if they are wanted and the device has them."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16 and has_bfloat16(device))


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """Type of the factors: bfloat16 for "bf16" where the device has it, else float32."""
    return torch.bfloat16 if precision == "bf16" and has_bfloat16(device) else torch.float32
