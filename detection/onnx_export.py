"""Export of a detector's two networks, backbone and head, to ONNX for runtimes without torch.

The steps between them, mapping boxes to cells and pyramid pooling, are in `features` and `spp`. The pooled vectors have
the channels of each bin together (`spp.pyramid_pool(..., channels_last=True)`).
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detection.files import MARK, write_atomically
from detection.image import Preprocessing
from detection.model import Model
from detection.network import ConvBody

OPSET = 18
BODY, HEAD = "body.onnx", "head.onnx"


class BodyFromPixels(nn.Module):
    """The backbone with its preprocessing: RGB in 0..255, float32 (1, 3, H, W) -> map, float32 (1, C, h, w)."""

    def __init__(self, layers: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.layers = layers
        self.bgr, self.factor = preprocessing.bgr, preprocessing.scale
        self.mean = nn.Buffer(torch.tensor(preprocessing.mean).view(3, 1, 1))
        self.std = nn.Buffer(torch.tensor(preprocessing.std).view(3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        values = pixels.flip(1) if self.bgr else pixels
        conv5: torch.Tensor = self.layers((values * self.factor - self.mean) / self.std)
        return conv5


class Scores(nn.Module):
    """The head: pooled windows, float32 (R, D) -> SVM margins, float32 (R, K), through fc6 and fc7 if any."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.head = copy.deepcopy(model.fc.head).float().eval() if model.fc else None
        self.layer = model.fc.layer if model.fc else "pool5"
        self.weights = nn.Buffer(torch.from_numpy(model.svms.weights * model.svms.feature_scale).T.contiguous())
        self.bias = nn.Buffer(torch.from_numpy(model.svms.bias))

    def forward(self, pool5: torch.Tensor) -> torch.Tensor:
        features = self.head(pool5, self.layer) if self.head else pool5
        margins: torch.Tensor = features @ self.weights + self.bias
        return margins


def body_onnx(body: ConvBody) -> bytes:
    """Export the backbone, always in single precision.

    Its input is "pixels", float32 (1, 3, height, width), RGB in 0..255, and its output "conv5".
    """
    layers = copy.deepcopy(body.layers).cpu().float().eval()
    side = max(2 * body.min_input, 224)
    pixels = torch.zeros(1, 3, side, side + 32)
    sizes = {2: torch.export.Dim("height", min=body.min_input), 3: torch.export.Dim("width", min=body.min_input)}
    return _export(BodyFromPixels(layers, body.preprocessing), pixels, sizes, "pixels", "conv5")


def head_onnx(model: Model) -> bytes:
    """Export the head, with input "pool5", float32 (windows, D), and output "margins", float32 (windows, K)."""
    pool5 = torch.zeros(7, model.pooled_length)
    return _export(Scores(model), pool5, {0: torch.export.Dim("windows")}, "pool5", "margins")


def export(body: ConvBody, model: Model, folder: Path) -> list[Path]:
    """Write body.onnx and head.onnx to a folder, atomically.

    Args:
        body: the detector's backbone.
        model: the detector's model.
        folder: the output folder; it is created if missing.

    Returns:
        The paths of the two files.

    Raises:
        ModuleNotFoundError: onnx or onnxscript is not installed (pip install 'sppnet[onnx]').
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = {BODY: body_onnx(body), HEAD: head_onnx(model)}
    for name, data in made.items():
        write_atomically(folder / name, [data])
    return [folder / name for name in made]


def _export(module: nn.Module, example: torch.Tensor, sizes: dict[int, Any], given: str, made: str) -> bytes:
    module.eval()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet("torch.onnx", "onnxscript"):
        warnings.simplefilter("ignore")  # the exporter warns about its own use of torch
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=(sizes,),
            input_names=[given],
            output_names=[made],
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        note = type(program.model_proto)(doc_string=MARK)
        return program.model_proto.SerializeToString() + note.SerializeToString()  # messages are joined as bytes are


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Silence these loggers except for errors."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
