"""Compare the time from photo to detections with torchvision's detectors.

    python benchmarks/detectors.py --devkit datasets/VOCdevkit

Every row starts with a JPEG file and ends with boxes after non-maximum suppression. sppnet's rows decode the file,
search windows, run the convolutions, pool, score 20 classes, suppress and regress. torchvision's detectors run as in
their documentation, with random weights. Weights affect their time only through suppression, and random weights leave
almost nothing to suppress.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import detection as peers
from torchvision.transforms.functional import to_tensor

from detection import SPPDetector, zoo
from detection.config import Inference
from detection.ensemble import Evidence, detect_windows
from detection.features import compute_pyramid
from detection.image import read
from detection.model import Model
from detection.parallel import thread_count
from proposals.sources import ProposalSettings, propose

PEERS: dict[str, Callable[..., Any]] = {
    "Faster R-CNN R50-FPN": peers.fasterrcnn_resnet50_fpn,
    "SSD300 VGG-16": peers.ssd300_vgg16,
    "SSDlite320 MobileNetV3": peers.ssdlite320_mobilenet_v3_large,
}


def torchvision_row(make: Callable[..., Any]) -> Callable[[Path], Any]:
    """Build a row that runs one of torchvision's detectors."""
    model = make(weights=None, weights_backbone=None, num_classes=21).eval()

    @torch.inference_mode()
    def run(path: Path) -> Any:
        return model([to_tensor(read(path))])[0]["boxes"]

    return run


def ours(name: str, inference: Inference, source: str | None = None) -> Callable[[Path], Any]:
    """Build a row that runs a bundled detector; `source` replaces its own source of windows."""
    detector = SPPDetector.from_pretrained(name, inference=inference)
    if source is None:
        return detector.detect
    settings = ProposalSettings(source, max_boxes=2000)
    return lambda path: detector.detect(image := read(path), propose(image, settings, thread_count()))


def stages(name: str, photos: list[Path]) -> dict[str, dict[str, float]]:
    """Return median seconds of each stage of a detector in one view; for convolutions and scoring also GFLOP."""
    detector = SPPDetector.from_pretrained(name, inference="fast")
    model, body = detector.model, detector.body
    taken: dict[str, list[float]] = {}
    work: dict[str, list[float]] = {"convolve": [], "pool and score": []}
    for path in [photos[0], *photos]:
        marks = [time.perf_counter()]
        image = read(path)
        marks.append(time.perf_counter())
        windows = propose(image, ProposalSettings.from_meta(model.proposals), thread_count())
        marks.append(time.perf_counter())
        pyramid = compute_pyramid(image, body, model.config.pooling.scales)
        marks.append(time.perf_counter())
        evidence = Evidence(pyramid, windows, model)
        scored = evidence.scored()
        marks.append(time.perf_counter())
        detect_windows(evidence)
        marks.append(time.perf_counter())
        spent = [b - a for a, b in itertools.pairwise(marks)]
        spent[-1] -= spent[-2]  # suppression and regression: total minus pooling and scoring
        for stage, value in zip(("decode", "windows", "convolve", "pool and score", "boxes"), spent, strict=True):
            taken.setdefault(stage, []).append(value)
        with FlopCounterMode(display=False) as counter:
            compute_pyramid(image, body, model.config.pooling.scales)
        work["convolve"].append(counter.get_total_flops() / 1e9)
        work["pool and score"].append(2e-9 * len(scored.windows.cells.windows) * weights_of(model))
    found = {stage: {"seconds": statistics.median(values[1:])} for stage, values in taken.items()}
    for stage, values in work.items():
        found[stage]["gflop"] = statistics.median(values[1:])
    return found


def weights_of(model: Model) -> int:
    """Count the weights applied to each window: fc6 and fc7, if there are any, and the SVMs."""
    layers = model.fc.head.parameters() if model.fc else []
    return model.svms.weights.size + sum(p.numel() for p in layers if p.ndim == 2)


def main() -> None:
    """Run the benchmark and write its report."""
    options = harness.parser(__doc__, "detectors", "devkit", "threads").parse_args()
    harness.use_threads(options.threads)
    started, photos = time.monotonic(), harness.photos(options)
    ways: tuple[Inference, ...] = ("fast", "best")
    rows = {f"sppnet {name}, {way}": ours(name, way) for name in zoo.names() for way in ways}
    rows |= {f"sppnet {zoo.names()[0]}, fast, windows of edgeboxes": ours(zoo.names()[0], "fast", "edgeboxes")}
    mine = list(rows)
    rows |= {name: torchvision_row(make) for name, make in PEERS.items()}
    times = harness.seconds(harness.interleaved({n: harness.timed(r) for n, r in rows.items()}, photos))
    result: dict[str, Any] = {"table": harness.table(times), "ratios": {}, "stages": {}}
    for name in mine:
        for peer in PEERS:
            result["ratios"][f"{peer} / {name}"] = r = harness.ratio(times, peer, name)
            harness.show_ratio(f"{peer} / {name}", r)
    for name in zoo.names():
        result["stages"][name] = found = stages(name, photos)
        print(f"{name}: " + ", ".join(f"{stage} {1e3 * s['seconds']:.0f} ms" for stage, s in found.items()))
    result["machine"] = rates = harness.machine_rates()
    print("this machine: " + ", ".join(f"{what} {value:.0f}" for what, value in rates.items()))
    harness.keep(options, result, started)


if __name__ == "__main__":
    main()
