"""Versions and hardware: what bug reports and json reports state.

`sppnet env` prints it.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "numba",
    "scikit-learn",
    "scipy",
    "opencv-python",
    "pillow",
    "pillow-heif",
    "pycocotools",
    "safetensors",
    "zstandard",
    "timm",
)
RIVALS = ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


def report() -> dict[str, str]:
    """What is installed and what it runs on, the most important first."""
    import torch

    import sppnet
    from detection import network, zoo
    from detection.networks.bfloat16 import has_bfloat16
    from detection.weights import pretrained

    machine, found = hardware(), versions()
    cached = [name for name in pretrained.CHECKPOINTS if pretrained.path_of(name).is_file()]
    facts = {
        "sppnet": f"{sppnet.__version__}, {Path(sppnet.__file__).parent}",
        "python": f"{found['python']}, {sys.executable}",
        "system": platform.platform(),
        "processor": f"{machine['processor']}, {machine['cores']} cores, {torch.get_num_threads()} threads",
        "GPU": f"{machine['gpu'] or 'none'}, CUDA {torch.version.cuda or 'not in this torch'}",
        "bfloat16": "fast" if has_bfloat16(network.resolve_device("cpu")) else "not supported, fp32 is used",
        "weights": f"{pretrained.home()}: {', '.join(cached)}",
        "detectors": ", ".join(zoo.names()),
    }
    facts |= {name: found[name] or "not installed" for name in PACKAGES}
    if rivals := [name for name in RIVALS if _version(name)]:
        facts["warning"] = f"{', '.join(rivals)} overwrites opencv-python; uninstall both, then install opencv-python"
    return facts


def versions() -> dict[str, str | None]:
    """Versions of this program, Python and the packages that results depend on; None for those not installed."""
    return {"sppnet": _version("sppnet"), "python": platform.python_version()} | {p: _version(p) for p in PACKAGES}


def hardware() -> dict[str, str | int | None]:
    """Machine, processor, cores, and the first CUDA device if torch is loaded and sees one."""
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name(0) if torch and torch.cuda.is_available() else None
    return {"machine": platform.machine(), "processor": processor(), "cores": os.cpu_count(), "gpu": gpu}


def processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def peak_memory() -> int | None:
    """Peak resident memory of this process or one of its finished workers, bytes; None if the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak if sys.platform == "darwin" else peak * 1024
