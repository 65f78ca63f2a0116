"""How time and memory grow with images, windows, scales, classes, photo size and workers.

    python benchmarks/growth.py --devkit datasets/VOCdevkit --run runs/mini

Every point is a process of its own, so that its peak memory is its own. `--run` is a run folder with AlexNet's features
of the training split at a short side of 688, for the sweeps of SVM training. Writes a json and a picture.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness
import numpy as np

from tools import common

Point = dict[str, float]
REPEATS = 5


def main() -> None:
    """Run and report."""
    options = _flags().parse_args()
    options.devkit, options.run = options.devkit.resolve(), options.run.resolve()
    harness.use_threads(options.threads)
    if options.point:
        sweep, value = options.point
        seconds = SWEEPS[sweep][0](float(value), options)
        print(json.dumps({"seconds": seconds, "peak_memory_bytes": common.peak_memory()}))
        return
    started = time.monotonic()
    result = json.loads(options.json.read_text())["result"] if options.json.is_file() else {}  # other sweeps stay
    for sweep in options.sweeps:
        values = SWEEPS[sweep][1]
        result[sweep] = [{"value": value} | child(sweep, value, options) for value in values]
        print(f"\n| {SWEEPS[sweep][2]} | seconds | GB |\n|---|---|---|")
        for p in result[sweep]:
            print(f"| {p['value']:g} | {p['seconds']:.3g} | {p['peak_memory_bytes'] / 1e9:.2f} |", flush=True)
    result = {sweep: result[sweep] for sweep in SWEEPS if sweep in result}
    plot(result, options.picture)
    harness.keep(options, result, started)


def child(sweep: str, value: float, options: argparse.Namespace) -> Point:
    """One point, in a process of its own."""
    command = [sys.executable, __file__, "--point", sweep, str(value), "--devkit", str(options.devkit)]
    command += ["--run", str(options.run), "--train-split", options.train_split, "--threads", str(options.threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: Point = json.loads(done.stdout.splitlines()[-1])
    return found


def median(work: Callable[[], Any]) -> float:
    """Seconds of a call, once it has been made unseen."""
    work()
    return harness.quartiles([harness.clocked(lambda _: work())(None)[0] for _ in range(REPEATS)])["median"]


def photo(options: argparse.Namespace, pixels: float | None = None) -> Any:
    """A photo of the split, enlarged to some pixels."""
    import cv2

    from detection.image import read

    options.split, options.count = "test", 1
    image = read(harness.photos(options)[0])
    if pixels is None:
        return image
    factor = (pixels / (image.shape[0] * image.shape[1])) ** 0.5
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def windows(value: float, options: argparse.Namespace) -> float:
    """Score, suppress and regress that many windows of one photo, Lite0."""
    from detection import SPPDetector, zoo
    from detection.ensemble import Evidence, detect_windows
    from detection.features import compute_pyramid

    detector, image = SPPDetector.from_pretrained(zoo.names()[0]), photo(options)
    rng, (height, width) = np.random.default_rng(0), image.shape[:2]
    corner = rng.uniform(0, 0.7, (int(value), 2)) * [width, height]
    boxes = np.hstack([corner, corner + rng.uniform(0.1, 0.3, (int(value), 2)) * [width, height]]).astype(np.float32)
    pyramid = compute_pyramid(image, detector.body, detector.model.config.pooling.scales)
    return median(lambda: detect_windows(Evidence(pyramid, boxes, detector.model)))


def scales(value: float, options: argparse.Namespace) -> float:
    """Convolve one photo at the first so many of the paper's scales, AlexNet."""
    from detection import network
    from detection.config import PAPER
    from detection.features import compute_pyramid

    body, image = network.build("alexnet"), photo(options)
    return median(lambda: compute_pyramid(image, body, PAPER.pooling.scales[: int(value)]))


def megapixels(value: float, options: argparse.Namespace) -> float:
    """From a JPEG file of that size to detections, Lite0."""
    import cv2

    from detection import SPPDetector, zoo

    detector, image = SPPDetector.from_pretrained(zoo.names()[0]), photo(options, 1e6 * value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        cv2.imwrite(str(path), image[:, :, ::-1])
        del image
        return median(lambda: detector.detect(path))


def images(value: float, options: argparse.Namespace) -> float:
    """Convolve so many photos into a new cache, AlexNet at 688, by the tool."""
    return _tool("extract_features", options, "--limit", str(int(value)), "--scales", "688")


def workers(value: float, options: argparse.Namespace) -> float:
    """Search windows of 200 photos by so many processes, by the tool."""
    return _tool("extract_proposals", options, "--limit", "200", "-j", str(int(value)))


def _tool(name: str, options: argparse.Namespace, *more: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        proposals = Path(folder) / "proposals"
        if name == "extract_features":
            proposals.symlink_to((options.run / "proposals").resolve())
        splits = ["--train-split", options.train_split, "--test-split", options.train_split]
        argv = ["--voc2007", "--devkit", str(options.devkit), *splits, "--run", folder, *more]
        started = time.perf_counter()
        subprocess.run([sys.executable, f"tools/{name}.py", *argv], check=True, cwd=harness.ROOT, capture_output=True)
        return time.perf_counter() - started


def svm_images(value: float, options: argparse.Namespace) -> float:
    """Mine and train 20 SVMs on so many photos, AlexNet pool5."""
    return _train(options, lambda found: found.records[: int(value)], 20)


def classes(value: float, options: argparse.Namespace) -> float:
    """Mine and train so many SVMs on 150 photos, whose objects are of random classes."""
    rng = np.random.default_rng(0)

    def renamed(found: Any) -> Any:
        return [replace(r, labels=rng.integers(0, int(value), len(r.labels))) for r in found.records[:150]]

    return _train(options, renamed, int(value))


def _train(options: argparse.Namespace, chosen: Callable[[Any], Any], n_classes: int) -> float:
    from detection import svm
    from detection.training.images import TrainingImages
    from sppnet.detector.svms import training_images

    kinds = (common.data_flags, common.network_flags, common.pyramid_flags, common.proposal_flags)
    argv = ["--voc2007", "--devkit", str(options.devkit), "--run", str(options.run)]
    argv += ["--train-split", options.train_split, "--backbone", "alexnet", "--scales", "688"]
    _, found, _, config = training_images(common.Run.of(common.parser("one training", *kinds).parse_args(argv)))
    records = chosen(found)
    some = TrainingImages(records, found.proposals, found.cache, found.pooling, n_classes)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        svm.train(some, config.svm, svm.MiningOptions(Path(folder), 6 * 2**30, "shared", max_negatives=None, seed=0))
        return time.perf_counter() - started


def plot(result: dict[str, list[Point]], path: Path) -> None:
    """One panel a sweep: seconds, and gigabytes on the right."""
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


SWEEPS: dict[str, tuple[Callable[[float, argparse.Namespace], float], tuple[float, ...], str]] = {
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
    flags.add_argument("--train-split", default="trainval")
    flags.add_argument("--sweeps", nargs="+", choices=list(SWEEPS), default=list(SWEEPS))
    flags.add_argument("--picture", type=Path, default=harness.ROOT / "docs" / "growth.png")
    flags.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    return flags


if __name__ == "__main__":
    main()
