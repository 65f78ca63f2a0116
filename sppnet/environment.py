"""What a report of a defect should hold: versions, processor, what speed depends on.

python -m detection.env
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
    "pycocotools",
    "safetensors",
    "zstandard",
    "timm",
)
RIVALS = ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


def report() -> dict[str, str]:
    """What is installed and what it runs on, in the order in which it should be read."""
    import torch

    import detection
    from detection import network, zoo
    from detection.networks.bfloat16 import has_bfloat16
    from detection.weights import pretrained

    machine, found = hardware(), versions()
    facts = {
        "sppnet": f"{detection.__version__}, {Path(detection.__file__).parent}",
        "python": f"{found['python']}, {sys.executable}",
        "system": platform.platform(),
        "processor": f"{machine['processor']}, {machine['cores']} cores, {torch.get_num_threads()} threads",
        "GPU": f"{machine['gpu'] or 'none'}, CUDA {torch.version.cuda or 'not in this torch'}",
        "bfloat16": "fast" if has_bfloat16(network.resolve_device("cpu")) else "not supported, fp32 is used",
        "weights": f"{pretrained.home()}: {', '.join(n for n in pretrained.CHECKPOINTS if pretrained.path_of(n).is_file())}",
        "detectors": ", ".join(zoo.names()),
    }
    facts |= {name: found[name] or "not installed" for name in PACKAGES}
    if rivals := [name for name in RIVALS if _version(name)]:
        facts["beware"] = f"{', '.join(rivals)} overwrites opencv-python; uninstall both, then install opencv-python"
    return facts


def versions() -> dict[str, str | None]:
    """Of this program, Python and the packages that results depend on; None where one is not installed."""
    return {"sppnet": _version("sppnet"), "python": platform.python_version()} | {p: _version(p) for p in PACKAGES}


def hardware() -> dict[str, str | int | None]:
    """Machine, processor, cores, and the first CUDA device where torch is loaded and sees one."""
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name(0) if torch and torch.cuda.is_available() else None
    return {"machine": platform.machine(), "processor": processor(), "cores": os.cpu_count(), "gpu": gpu}


def processor() -> str:
    """Its name."""
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


def main() -> None:
    """Print it."""
    facts = report()
    for name, value in facts.items():
        print(f"{name:{max(map(len, facts))}}  {value}")


if __name__ == "__main__":
    main()
