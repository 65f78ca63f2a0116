"""Write the convolutions and the scores of a detector as ONNX files, for runtimes without torch.

sppnet-export-onnx --model lite0-voc2007 --to onnx/
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common


def run(options: common.Options) -> dict[str, Any]:
    """Where the files are, and their bytes."""
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise RuntimeError(f"{package} is not installed; pip install 'sppnet[onnx]'")
    from detection import SPPDetector, onnx_export

    detector = SPPDetector.from_pretrained(
        options.model, device="cpu", weights=options.weights or "pretrained", precision="fp32"
    )
    files = onnx_export.export(detector.body, detector.model, options.to)
    for file in files:
        print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    return {"files": {str(file): file.stat().st_size for file in files}}


def flags() -> argparse.ArgumentParser:
    """What the command takes."""
    p = common.parser((__doc__ or "").split("\n", 1)[0])
    p.add_argument("--model", required=True, metavar="NAME|DIR", help="a detector that comes along, or a model folder")
    p.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder of body.onnx and head.onnx")
    p.add_argument("--weights", type=Path, metavar="FILE", help="of the convolutions, instead of the pretrained ones")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    return common.main(run, flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
