"""bfloat16 arithmetic on devices that support it, and single precision elsewhere.

On a CPU with AVX2 only, emulated bfloat16 is slower than single precision, 20 times for convolutions and 250 times for
matrix products, and less exact.
"""

from __future__ import annotations

import torch

from detection.config import Precision


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device computes bfloat16 products faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())


def autocast(device: torch.device, bfloat16: bool = True) -> torch.autocast:
    """Return a context that computes products in bfloat16 if requested and supported by the device."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16 and has_bfloat16(device))


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """Return torch.bfloat16 for "bf16" if the device supports it, else torch.float32."""
    return torch.bfloat16 if precision == "bf16" and has_bfloat16(device) else torch.float32
