"""Write the convolutions and the scores of a detector as ONNX files, for runtimes without torch.

sppnet export onnx --model lite0-voc2007 --to onnx/
"""

from __future__ import annotations

import importlib.util
from typing import Any

from sppnet.settings.commands import ExportOnnxSettings

SETTINGS = ExportOnnxSettings


def run(settings: ExportOnnxSettings) -> dict[str, Any]:
    """Return the files and their sizes in bytes."""
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise RuntimeError(f"{package} is not installed; run: pip install 'sppnet[onnx]'")
    from detection import onnx_export
    from detection.detector import SPPDetector
    from sppnet.output_files import check_file
    from sppnet.text import size

    for name in (onnx_export.BODY, onnx_export.HEAD):
        check_file(settings.to / name)
    weights = settings.weights or "pretrained"
    detector = SPPDetector.from_pretrained(settings.model, device="cpu", weights=weights, precision="fp32")
    files = onnx_export.export(detector.body, detector.model, settings.to)
    for file in files:
        print(f"{file}: {size(file.stat().st_size)}")
    return {"files": {str(file): file.stat().st_size for file in files}}
