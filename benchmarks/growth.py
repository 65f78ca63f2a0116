"""Measure how time and memory grow with images, windows, scales, classes, photo size and workers.

    python benchmarks/growth.py --devkit datasets/VOCdevkit --run runs/mini

Every point runs in a separate process, so that peak memory is measured per point. `--run` is a run folder with
AlexNet's features of the training split at a short side of 688; the sweeps of SVM training use it. Writes a JSON report
and a picture.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness
import numpy as np

Point = dict[str, float]
REPEATS = 5


def main() -> None:
    """Run the benchmark and write its report."""
    options = _flags().parse_args()
    options.devkit, options.run = options.devkit.resolve(), options.run.resolve()
    harness.use_threads(options.threads)
    if options.point:
        sweep, value = options.point
        seconds = SWEEPS[sweep][0](float(value), options)
        from sppnet import environment

        print(json.dumps({"seconds": seconds, "peak_memory_bytes": environment.peak_memory()}))
        return
    started = time.monotonic()
    result = json.loads(options.json.read_text())["result"] if options.json.is_file() else {}  # keep other sweeps
    for sweep in options.sweeps:
        values = SWEEPS[sweep][1]
        result[sweep] = [{"value": value} | child(sweep, value, options) for value in values]
        print(f"\n| {SWEEPS[sweep][2]} | seconds | GB |\n|---|---|---|")
        for p in result[sweep]:
            print(f"| {p['value']:g} | {p['seconds']:.3g} | {p['peak_memory_bytes'] / 1e9:.2f} |", flush=True)
    result = {sweep: result[sweep] for sweep in SWEEPS if sweep in result}
    plot(result, options.picture)
    harness.keep(options, result, started)


def child(sweep: str, value: float, options: Any) -> Point:
    """Measure one point in a separate process."""
    arguments = [__file__, "--point", sweep, str(value), "--devkit", str(options.devkit), "--run", str(options.run)]
    arguments += ["--train-split", options.train_split, "--threads", str(options.threads)]
    return harness.run_for_json(*arguments)


def median(work: Callable[[], Any]) -> float:
    """Return the median seconds of a call, after one warm-up call."""
    work()
    return harness.quartiles([harness.timed(lambda _: work())(None)[0] for _ in range(REPEATS)])["median"]


def photo(options: Any, pixels: float | None = None) -> Any:
    """Return the first test photo, uint8 RGB (H, W, 3), enlarged to a number of pixels if given."""
    import cv2

    from detection.image import read

    options.split, options.count = "test", 1
    image = read(harness.photos(options)[0])
    if pixels is None:
        return image
    factor = (pixels / (image.shape[0] * image.shape[1])) ** 0.5
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def windows(value: float, options: Any) -> float:
    """Score, suppress and regress `value` windows of one photo, with Lite0."""
    from detection import SPPDetector, zoo
    from detection.ensemble import Evidence, detect_windows
    from detection.features import compute_pyramid

    detector, image = SPPDetector.from_pretrained(zoo.names()[0]), photo(options)
    rng, (height, width) = np.random.default_rng(0), image.shape[:2]
    corner = rng.uniform(0, 0.7, (int(value), 2)) * [width, height]
    boxes = np.hstack([corner, corner + rng.uniform(0.1, 0.3, (int(value), 2)) * [width, height]]).astype(np.float32)
    pyramid = compute_pyramid(image, detector.body, detector.model.config.pooling.scales)
    return median(lambda: detect_windows(Evidence(pyramid, boxes, detector.model)))


def scales(value: float, options: Any) -> float:
    """Run AlexNet's convolutions on one photo at the first `value` of the paper's scales."""
    from detection import network
    from detection.config import PAPER
    from detection.features import compute_pyramid

    body, image = network.build("alexnet"), photo(options)
    return median(lambda: compute_pyramid(image, body, PAPER.pooling.scales[: int(value)]))


def megapixels(value: float, options: Any) -> float:
    """Detect from a JPEG file of `value` megapixels, with Lite0."""
    import cv2

    from detection import SPPDetector, zoo

    detector, image = SPPDetector.from_pretrained(zoo.names()[0]), photo(options, 1e6 * value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        cv2.imwrite(str(path), image[:, :, ::-1])
        del image
        return median(lambda: detector.detect(path))


def images(value: float, options: Any) -> float:
    """Extract AlexNet's features at 688 of `value` photos into a new cache, by the command."""
    return _tool("extract_features", options, "--limit", str(int(value)), "--scales", "688")


def workers(value: float, options: Any) -> float:
    """Search windows of 200 photos with `value` processes, by the command."""
    return _tool("extract_proposals", options, "--limit", "200", "-j", str(int(value)))


def _tool(name: str, options: Any, *more: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        proposals = Path(folder) / "proposals"
        if name == "extract_features":
            proposals.symlink_to((options.run / "proposals").resolve())
        splits = ["--train-split", options.train_split, "--test-split", options.train_split]
        argv = ["--voc2007", "--devkit", str(options.devkit), *splits, "--run", folder, *more]
        started = time.perf_counter()
        harness.run_python(f"tools/{name}.py", *argv, capture_output=True)
        return time.perf_counter() - started


def svm_images(value: float, options: Any) -> float:
    """Mine and train 20 SVMs on `value` photos, with AlexNet's pool5."""
    return _train(options, lambda found: found.records[: int(value)], 20)


def classes(value: float, options: Any) -> float:
    """Mine and train `value` SVMs on 150 photos with random classes for their objects."""
    rng = np.random.default_rng(0)

    def renamed(found: Any) -> Any:
        return [replace(r, labels=rng.integers(0, int(value), len(r.labels))) for r in found.records[:150]]

    return _train(options, renamed, int(value))


def _train(options: Any, chosen: Callable[[Any], Any], n_classes: int) -> float:
    from detection import svm
    from detection.training.images import TrainingImages

    data = harness.training_set(options, backbone="alexnet", scales=(688,))
    found, config = data.images, data.config
    records = chosen(found)
    some = TrainingImages(records, found.proposals, found.cache, found.pooling, n_classes)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        svm.train(some, config.svm, svm.MiningOptions(Path(folder), 6 * 2**30, "shared", max_negatives=None, seed=0))
        return time.perf_counter() - started


def plot(result: dict[str, list[Point]], path: Path) -> None:
    """Draw one panel per sweep: seconds on the left axis, gigabytes on the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2 * -(-len(result) // 3)), layout="constrained")
    for place, (sweep, points) in enumerate(result.items()):
        axes = figure.add_subplot(-(-len(result) // 3), 3, place + 1)
        x = [p["value"] for p in points]
        axes.plot(x, [p["seconds"] for p in points], "o-", color="#0072b2")
        axes.set(xlabel=SWEEPS[sweep][2], ylabel="seconds", ylim=(0, None), xlim=(0, None))
        axes.yaxis.label.set_color("#0072b2")
        memory = axes.twinx()
        memory.plot(x, [p["peak_memory_bytes"] / 1e9 for p in points], "s--", color="#d55e00")
        memory.set(ylabel="GB", ylim=(0, None))
        memory.yaxis.label.set_color("#d55e00")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    print(f"picture: {path}")


SWEEPS: dict[str, tuple[Callable[[float, Any], float], tuple[float, ...], str]] = {
    "windows": (windows, (500, 1000, 2000, 4000, 10_000), "windows of a photo"),
    "scales": (scales, (1, 2, 3, 4, 5), "scales"),
    "megapixels": (megapixels, (0.1, 0.5, 1, 5, 12, 24, 50), "megapixels of a photo"),
    "images": (images, (100, 400, 1000, 2600), "photos convolved"),
    "workers": (workers, (1, 2), "processes searching 200 photos"),
    "svm-images": (svm_images, (100, 400, 1000, 2600), "photos to train 20 SVMs on"),
    "classes": (classes, (1, 5, 20, 50, 100, 200), "classes"),
}


def _flags() -> argparse.ArgumentParser:
    flags = harness.parser(__doc__, "growth", "threads")
    flags.add_argument("--devkit", type=Path, required=True, help="a VOCdevkit with VOC2007")
    flags.add_argument("--run", type=Path, required=True, help="a run folder with AlexNet's features at 688")
    flags.add_argument("--train-split", default="trainval", help="split of the training photos (%(default)s)")
    flags.add_argument("--sweeps", nargs="+", choices=list(SWEEPS), default=list(SWEEPS), help="sweeps to run (all)")
    flags.add_argument("--picture", type=Path, default=harness.ROOT / "docs" / "growth.png", help="(%(default)s)")
    flags.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    return flags


if __name__ == "__main__":
    main()
