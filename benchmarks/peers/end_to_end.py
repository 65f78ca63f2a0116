"""Train torchvision's SSD on a Lite0 body end to end, and score it after some minutes of training.

    python benchmarks/peers/end_to_end.py --data bccd --minutes 1 3 10 30 60 --rate 0.03

What people would do instead: the same ImageNet weights, all layers trained. The heads are those of SSDlite, on maps
with strides from 16 to 256 pixels, with the default boxes of SSD512; photos are augmented as in torchvision's own
training of SSDlite. SGD with momentum, a warm-up of 100 iterations, and a moving average of the weights, so that a
score after some minutes does not wait for a falling rate. Minutes are those of the training alone: the processor's time
divided by the number of cores, as if they were never idle; or, on a machine with other work, iterations at the rate of
an idle one. With --state FILE an interrupted training continues, with other random crops than without the interruption.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import harness
import numpy as np
import torch
from torch import nn
from torchvision import tv_tensors
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead, _extra_block
from torchvision.transforms import v2

from data import datasets
from data.records import Dataset, ImageRecord
from detection.detections import Detections
from detection.evaluation import coco, voc
from detection.image import read
from detection.networks.built_in import EFFICIENTNET_LITE, _efficientnet_lite
from detection.weights import pretrained
from detection.weights.state_dict import assign

BLOCKS_AT_16 = 11  # blocks of Lite0 before its last strided one
EXTRA = (512, 256, 256, 128)  # channels of the maps after the body, as in SSDlite
SCALES = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]  # of the default boxes, as in SSD512
WARM_UP = 100  # iterations
KEPT_EVERY = 100  # iterations between states on disk
AVERAGED = 0.995  # share of the moving average that an iteration keeps


class Body(nn.Module):
    """Lite0 at strides of 16 and 32 pixels, then SSDlite's smaller maps."""

    def __init__(self) -> None:
        super().__init__()
        layers = _efficientnet_lite(1.0, 1.0, max_stride=32)
        assign(layers, dict(pretrained.load("lite0")), "weights of lite0")
        blocks = list(layers.blocks)
        self.first = nn.Sequential(*list(layers)[:-1], *blocks[:BLOCKS_AT_16])
        self.second = nn.Sequential(*blocks[BLOCKS_AT_16:])
        norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
        widths = (320, *EXTRA)
        self.extra = nn.ModuleList(_extra_block(a, b, norm) for a, b in zip(widths, EXTRA, strict=False))

    def forward(self, x: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        maps = [self.first(x)]
        maps.append(self.second(maps[0]))
        for block in self.extra:
            maps.append(block(maps[-1]))
        return OrderedDict((str(i), m) for i, m in enumerate(maps))


def network(classes: int, side: int) -> SSD:
    """An SSD whose body has ImageNet weights and whose heads are random."""
    body, boxes = Body(), DefaultBoxGenerator([[2, 3]] * 6, scales=SCALES)
    body.eval()
    with torch.inference_mode():
        channels = [m.shape[1] for m in body(torch.zeros(1, 3, side, side)).values()]
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    head = SSDLiteHead(channels, boxes.num_anchors_per_location(), classes + 1, norm)
    mean, std = (tuple(v / 255 for v in values) for values in (EFFICIENTNET_LITE.mean, EFFICIENTNET_LITE.std))
    limits = {"score_thresh": 0.01, "nms_thresh": 0.45, "detections_per_img": 200, "topk_candidates": 400}
    return SSD(body, boxes, (side, side), classes + 1, image_mean=list(mean), image_std=list(std), head=head, **limits)


@dataclass(frozen=True)
class Photos:
    """Decoded photos with their objects."""

    records: tuple[ImageRecord, ...]
    images: list[torch.Tensor]

    @classmethod
    def of(cls, dataset: Dataset) -> Photos:
        images = [torch.from_numpy(read(r.path, r.size)).permute(2, 0, 1).contiguous() for r in dataset]
        return cls(dataset.records, images)

    def target(self, row: int) -> dict[str, Any]:
        """Objects of a photo as torchvision trains on them: exclusive corners, background is class 0."""
        record = self.records[row]
        boxes = record.boxes + np.array([0, 0, 1, 1], np.float32)
        size = (self.images[row].shape[1], self.images[row].shape[2])
        placed = tv_tensors.BoundingBoxes(torch.from_numpy(boxes), format="XYXY", canvas_size=size)
        return {"boxes": placed, "labels": torch.from_numpy(record.labels + 1)}


def batches(photos: Photos, size: int, seed: int) -> Iterator[tuple[list[torch.Tensor], list[dict[str, Any]]]]:
    """Endless batches of augmented photos, each photo once per epoch."""
    change = v2.Compose([
        v2.RandomIoUCrop(), v2.RandomHorizontalFlip(), v2.SanitizeBoundingBoxes(), v2.ToDtype(torch.float32, scale=True)
    ])  # fmt: skip
    generator, waiting = np.random.default_rng(seed), []
    while True:
        while len(waiting) < size:
            waiting += generator.permutation(len(photos.images)).tolist()
        rows, waiting = waiting[:size], waiting[size:]
        pairs = [change(tv_tensors.Image(photos.images[row]), photos.target(row)) for row in rows]
        usable = [(image.as_subclass(torch.Tensor), target) for image, target in pairs if len(target["boxes"])]
        if usable:
            yield [image for image, _ in usable], [target for _, target in usable]


@torch.inference_mode()
def score(net: SSD, photos: Photos, classes: tuple[str, ...], metric: str) -> dict[str, float]:
    """Average precisions on the test photos, and seconds per photo."""
    net.eval()
    found, started = {}, time.perf_counter()
    for record, image in zip(photos.records, photos.images, strict=True):
        out = net([image.float() / 255])[0]
        boxes = out["boxes"].float().numpy() - np.array([0, 0, 1, 1], np.float32)
        found[record.id] = Detections(boxes, out["scores"].float().numpy(), out["labels"].numpy() - 1, classes)
    seconds = (time.perf_counter() - started) / len(photos.images)
    result = voc.evaluate(found, photos.records, 0.5, metric, classes)
    return {
        "mean_ap": float(result.mean_ap),
        "coco_ap": coco.evaluate(found, photos.records, classes).ap,
        "photo_seconds": seconds,
    }


def train(options: argparse.Namespace, net: SSD, photos: Photos) -> Iterator[tuple[float, int, nn.Module]]:
    """Train; after each of the stated minutes give minutes, iterations and the averaged network."""
    wanted = sorted(options.minutes)
    optimizer = torch.optim.SGD(net.parameters(), options.rate, momentum=0.9, weight_decay=4e-5)
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(1.0, (i + 1) / WARM_UP))
    averaged = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGED), use_buffers=True
    )
    spent, iteration = 0.0, 0
    parts: dict[str, Any] = {"net": net, "optimizer": optimizer, "warm": warm, "averaged": averaged}
    if options.state and options.state.exists():
        kept = torch.load(options.state, weights_only=True)
        spent, iteration = kept["spent"], kept["iteration"]
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        wanted = [minutes for minutes in wanted if minutes > spent]
    torch.manual_seed(options.seed + iteration)
    source = batches(photos, options.batch, options.seed + iteration)
    while wanted:
        started = time.process_time()
        net.train()
        images, targets = next(source)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            loss = sum(net(images, targets).values())
        if not torch.isfinite(loss):
            print(f"rate {options.rate}: the loss is {loss.item()} after {iteration} iterations", flush=True)
            return
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        warm.step()
        averaged.update_parameters(net)
        iteration += 1
        spent += (time.process_time() - started) / options.cores / 60
        spent = iteration / options.per_minute if options.per_minute else spent
        due = spent >= wanted[0]
        if due:
            yield wanted.pop(0), iteration, averaged.module
        if options.state and (due or iteration % KEPT_EVERY == 0):
            states = {name: part.state_dict() for name, part in parts.items()}
            torch.save({"spent": spent, "iteration": iteration} | states, options.state)


def _before(options: argparse.Namespace) -> list[dict[str, float]]:
    """The points of the report that an interrupted training left."""
    if not (options.state and options.state.exists() and options.json.exists()):
        return []
    points: list[dict[str, float]] = json.loads(options.json.read_text())["result"]["points"]
    return points


def main() -> None:
    """Train, score and write the report."""
    flags = harness.parser(__doc__, "end_to_end", "threads")
    flags.add_argument("--data", type=Path, required=True, help="labelled photos in any format, with two splits")
    flags.add_argument(
        "--minutes", type=float, nargs="+", default=[1, 3, 10, 30, 60], metavar="M", help="(%(default)s)"
    )
    flags.add_argument("--cores", type=int, default=2, help="minutes are those of so many cores (%(default)s)")
    flags.add_argument(
        "--per-minute",
        type=float,
        metavar="N",
        help="count N iterations as a minute, as measured on an idle machine (default: the processor's time)",
    )
    flags.add_argument("--rate", type=float, default=0.03, help="learning rate (%(default)s)")
    flags.add_argument("--batch", type=int, default=8, help="photos per iteration (%(default)s)")
    flags.add_argument("--side", type=int, default=512, help="photos are resized to a square of so many pixels")
    flags.add_argument("--bf16", action="store_true", help="products in bfloat16")
    flags.add_argument("--metric", choices=["voc07", "area"], default="voc07", help="(%(default)s)")
    flags.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    flags.add_argument("--state", type=Path, help="file to continue from, written while the training runs")
    options = flags.parse_args()
    harness.use_threads(options.threads)
    torch.manual_seed(options.seed)
    started = time.monotonic()
    splits = datasets.usual(options.data)
    learned = datasets.load(options.data, splits[0])
    tested = Photos.of(datasets.load(options.data, splits[1], classes=learned.classes))
    net = network(len(learned.classes), options.side).to(memory_format=torch.channels_last)
    points = _before(options)
    for minutes, iterations, averaged in train(options, net, Photos.of(learned)):
        point = {"minutes": minutes, "iterations": iterations} | score(
            averaged, tested, learned.classes, options.metric
        )
        points = [*(p for p in points if p["minutes"] != minutes), point]  # a killed training may have left this one
        print(" ".join(f"{name} {value:.4g}" for name, value in point.items()), flush=True)
        harness.keep(options, {"points": points, "photos": len(learned)}, started)


if __name__ == "__main__":
    main()
