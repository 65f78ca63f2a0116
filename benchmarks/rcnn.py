"""Compare feature extraction with R-CNN's: one pass of the photo for 2,000 windows, or one pass per crop.

    python benchmarks/rcnn.py --devkit datasets/VOCdevkit

Both sides use AlexNet with the same weights, precision, memory layout and threads, and start from a decoded photo and
its windows. sppnet resizes the photo; R-CNN crops and warps 2,000 windows to 224 x 224. R-CNN runs with the fastest of
several batch sizes. Parts are timed separately, in turn on each photo, and added up. sppnet pools and scores windows
that cover the same cells once; R-CNN has no equal crops. The fully connected layers have random weights, which take
the same time as any others. The ranks of the compressed layers keep 90 % of the variance in a fine-tuned AlexNet
(docs/results.md gives the cost in mAP).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import harness
import numpy as np
import torch
from numpy.typing import NDArray

from detection import features, network
from detection.config import PAPER, Precision
from detection.image import read, resize_short_side
from detection.networks.bfloat16 import autocast
from detection.networks.fc_head import FcFeatures, FcHead
from detection.networks.low_rank import LowRankLinear
from proposals.sources import ProposalSettings, propose

WINDOWS, CROP = 2000, 224
ONE, FIVE = (688,), PAPER.pooling.scales
RANKS = (195, 88)  # fc6, fc7
Times = dict[str, list[float]]


@dataclass(frozen=True, eq=False)
class Item:
    """One photo.

    Attributes:
        image: uint8 RGB (H, W, 3).
        boxes: float32 (R, 4) xyxy, 2,000 windows.
        crops: uint8 (R, 224, 224, 3), the warped windows.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    crops: NDArray[np.uint8]


def item(path: Path) -> Item:
    """Read a photo and search its windows; if there are fewer than 2,000, they are repeated, shifted by one pixel."""
    image = read(path)
    found = propose(image, ProposalSettings("ss"))
    rounds = np.arange(WINDOWS) // len(found)
    boxes = (np.resize(found, (WINDOWS, 4)) - rounds[:, None]).clip(0).astype(np.float32)
    return Item(image, boxes, crop(image, boxes))


def crop(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Crop and warp every window: uint8 (R, 224, 224, 3)."""
    crops = np.empty((len(boxes), CROP, CROP, 3), np.uint8)
    for out, (x0, y0, x1, y1) in zip(crops, boxes.astype(int), strict=True):
        cv2.resize(image[y0 : y1 + 1, x0 : x1 + 1], (CROP, CROP), dst=out)
    return crops


class RCNN:
    """R-CNN's feature extraction: crops through the convolutions and the last pooling, in batches."""

    def __init__(self, body: network.ConvBody, batch: int) -> None:
        self.body, self.batch = body, batch
        self.pool = torch.nn.MaxPool2d(3, 2)

    @torch.inference_mode()
    def conv(self, crops: NDArray[np.uint8]) -> torch.Tensor:
        """Compute pool5 of crops: uint8 (R, 224, 224, 3) -> float32 (R, 9216)."""
        pre, out = self.body.preprocessing, []
        mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (pre.mean, pre.std))
        for start in range(0, len(crops), self.batch):
            batch = torch.from_numpy(crops[start : start + self.batch]).permute(0, 3, 1, 2)  # channels-last
            with autocast(torch.device("cpu"), self.body.precision == "bf16"):
                out.append(self.pool(self.body.layers((batch * pre.scale - mean) / std)).float().flatten(1))
        return torch.cat(out)


def tuned(body: network.ConvBody, crops: NDArray[np.uint8]) -> RCNN:
    """Return an `RCNN` with the fastest batch size on these crops."""
    seconds = {}
    for size in (8, 16, 32, 64, 128, 256):
        candidate = RCNN(body, size)
        candidate.conv(crops[:size])
        started = time.perf_counter()
        candidate.conv(crops[:512])
        seconds[size] = time.perf_counter() - started
    best = min(seconds, key=lambda size: seconds[size])
    print(f"R-CNN, {body.precision}: batch {best} of {', '.join(f'{k}: {v:.2f} s' for k, v in seconds.items())}")
    return RCNN(body, best)


def heads(precision: Precision) -> dict[str, FcFeatures]:
    """Build the fully connected layers of both sides, by their names in the table."""
    low = FcHead.random(12_800, 1024)
    low.fc6, low.fc7 = LowRankLinear(12_800, 1024, RANKS[0]), LowRankLinear(1024, 1024, RANKS[1])
    named = {
        "sppnet fc 4096": FcHead.random(12_800, 4096),
        "sppnet fc 1024": FcHead.random(12_800, 1024),
        "sppnet fc 1024 compressed": low,
        "R-CNN fc 4096": FcHead.random(9216, 4096),
        "R-CNN fc 1024": FcHead.random(9216, 1024),
    }
    return {name: FcFeatures(head.eval(), "fc7", precision) for name, head in named.items()}


def parts(body: network.ConvBody, rcnn: RCNN) -> dict[str, Callable[[Item], Any]]:
    """Return the functions to time, by name."""
    fc, pooled9216 = heads(body.precision), torch.rand(WINDOWS, 9216)

    def conv(scales: tuple[int, ...]) -> Callable[[Item], Any]:
        return lambda work: [body.conv5(resize_short_side(work.image, s)) for s in scales]

    def pool(scales: tuple[int, ...], head: FcFeatures | None = None) -> Callable[[Item], Any]:
        pooling = PAPER.with_scales(scales).pooling

        def run(work: Item) -> None:
            cells, _ = features.locate(pyramid := pyramids[scales](work), work.boxes, pooling).unique()
            work_on = head or (lambda pooled: np.zeros((len(pooled), 0), np.float32))
            dtype = head.dtype_on(torch.device("cpu")) if head else None
            features.apply_pooled(work_on, pyramid, cells, pooling, dtype)

        return run

    known: dict[tuple[int, tuple[int, ...]], features.FeaturePyramid] = {}

    def pyramid_of(scales: tuple[int, ...]) -> Callable[[Item], features.FeaturePyramid]:
        def get(work: Item) -> features.FeaturePyramid:
            key = (id(work), scales)
            if key not in known:
                known[key] = features.compute_pyramid(work.image, body, scales)
            return known[key]

        return get

    pyramids = {scales: pyramid_of(scales) for scales in (ONE, FIVE)}
    work: dict[str, Callable[[Item], Any]] = {
        "R-CNN crops": lambda i: crop(i.image, i.boxes),
        "R-CNN conv": lambda i: rcnn.conv(i.crops),
    }
    for count, scales in ((1, ONE), (5, FIVE)):
        work[f"sppnet conv, {count}"] = conv(scales)
        work[f"sppnet pool, {count}"] = pool(scales)
        for name in ("fc 4096", "fc 1024", "fc 1024 compressed"):
            work[f"sppnet pool, {count}, {name}"] = pool(scales, fc[f"sppnet {name}"])
    for name in ("fc 4096", "fc 1024"):
        head = fc[f"R-CNN {name}"]
        work[f"R-CNN {name}"] = lambda i, head=head: head(pooled9216)  # type: ignore[misc]
    return work


def warmed(rows: dict[str, Callable[[Item], Any]]) -> dict[str, harness.Row]:
    """Build rows with one warm-up call per item, which computes the maps; R-CNN's rows are too slow for one."""

    def row(name: str, run: Callable[[Item], Any]) -> harness.Row:
        timed = harness.timed(run)

        def warm(work: Item) -> tuple[float, float]:
            if not name.startswith("R-CNN"):
                run(work)
            return timed(work)

        return warm

    return {name: row(name, run) for name, run in rows.items()}


def totals(t: Times) -> dict[str, list[float]]:
    """Add up the parts of each extraction: seconds per photo, by name."""

    def add(*names: str) -> list[float]:
        return [sum(values) for values in zip(*(t[n] for n in names), strict=True)]

    out = {"R-CNN, no fc": add("R-CNN crops", "R-CNN conv")}
    for width in ("4096", "1024"):
        out[f"R-CNN, fc {width}"] = add("R-CNN crops", "R-CNN conv", f"R-CNN fc {width}")
    for count in (1, 5):
        out[f"sppnet, {count}, no fc"] = add(f"sppnet conv, {count}", f"sppnet pool, {count}")
        for name in ("fc 4096", "fc 1024", "fc 1024 compressed"):
            out[f"sppnet, {count}, {name}"] = add(f"sppnet conv, {count}", f"sppnet pool, {count}, {name}")
    return out


def pixels(items: list[Item], scales: tuple[int, ...]) -> float:
    """Return R-CNN's convolved pixels over sppnet's, the speed ratio at equal efficiency; median over the photos."""
    ratios = []
    for work in items:
        sides = [resize_short_side(work.image, s).shape for s in scales]
        ratios.append(WINDOWS * CROP**2 / sum(h * w for h, w, _ in sides))
    return harness.quartiles(ratios)["median"]


def main() -> None:
    """Run the benchmark and write its report."""
    flags = harness.parser(__doc__, "rcnn", "devkit", "threads")
    flags.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"], help="(both)")
    options = flags.parse_args()
    harness.use_threads(options.threads)
    started, result = time.monotonic(), {}
    items = [item(path) for path in harness.photos(options)]
    pixel_ratio = {count: pixels(items, scales) for count, scales in ((1, ONE), (5, FIVE))}
    for precision in options.precisions:
        print(f"\n{precision}")
        body = replace(network.build("alexnet"), precision=precision)
        rows = parts(body, tuned(body, items[0].crops))
        measured = harness.seconds(harness.interleaved(warmed(rows), items))
        whole = totals(measured)
        result[precision] = {"parts": harness.table(measured), "totals": harness.table(whole), "ratios": {}}
        for name in (n for n in whole if n.startswith("sppnet")):
            layers = name.split(", ")[2].removesuffix(" compressed")
            r = harness.ratio(whole, f"R-CNN, {layers}", name)
            r["of_the_pixel_ratio"] = r["median"] / pixel_ratio[int(name.split(", ")[1])]
            result[precision]["ratios"][name] = r
            harness.show_ratio(f"{precision}, {name}", r)
    result["pixel_ratio"] = pixel_ratio
    harness.keep(options, result, started)


if __name__ == "__main__":
    main()
