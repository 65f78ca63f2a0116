"""What all tools share: flags, the run folder, errors, reports."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from data import datasets, voc
from data.records import Dataset
from detection.cache import FeatureCache
from detection.config import PRESETS, Config
from detection.files import write_atomically
from sppnet import environment, progress

Options = argparse.Namespace


def parser(description: str, *groups: Callable[[argparse.ArgumentParser], None]) -> argparse.ArgumentParser:
    """A parser with the flags every tool has and those of the given groups."""
    result = argparse.ArgumentParser(description=description)
    for group in groups:
        group(result)
    result.add_argument("--json", type=Path, metavar="PATH", help="write the result, settings, versions and time")
    result.add_argument("--debug", action="store_true", help="show the traceback of an error")
    progress.flags(result)
    return result


def source_flags(p: argparse.ArgumentParser) -> None:
    """Which data set."""
    p.add_argument("--voc2007", action="store_true", help="Pascal VOC 2007; the run folder is then runs/voc2007")
    p.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="a data set in VOC's, COCO's or YOLO's layout, or a CSV table of boxes",
    )
    p.add_argument("--devkit", type=Path, help="a VOCdevkit, or a folder with Annotations, ImageSets, JPEGImages")
    p.add_argument("--data-root", type=Path, default=Path("datasets"), help="where data sets lie (%(default)s)")
    p.add_argument("--download", action="store_true", help="fetch VOC 2007 into the data root if it is not there")


def dataset_flags(p: argparse.ArgumentParser) -> None:
    """Which data set, and where the work on it is kept."""
    source_flags(p)
    p.add_argument("--run", type=Path, help="folder of this run's artefacts (runs/<name of the data set>)")
    p.add_argument("--limit", type=positive, help="use only the first N images of each split")
    p.add_argument("--skip-bad", action="store_true", help="go on without unusable images, and list them at the end")


def data_flags(p: argparse.ArgumentParser) -> None:
    """Which images, and where the work is kept."""
    dataset_flags(p)
    p.add_argument("--train-split", metavar="NAME", help="of the training images (trainval, or train)")
    p.add_argument("--test-split", metavar="NAME", help="of the test images (test, or val)")
    p.add_argument("--overwrite", action="store_true", help="do finished work again")
    p.add_argument("--seed", type=seed, default=0, help="of everything random (%(default)s)")


def network_flags(p: argparse.ArgumentParser) -> None:
    """Which features."""
    p.add_argument(
        "--backbone",
        metavar="NAME",
        help="convolutions: alexnet, vgg16, lite0, zf5 with --weights, or any of torchvision:NAME and timm:NAME with a "
        "map of stride 16 (alexnet)",
    )
    p.add_argument("--preset", choices=sorted(PRESETS), help="whose constants (paper, or that of the features)")
    p.add_argument("--scales", type=positive, nargs="+", help="short sides in pixels (the preset's five)")
    p.add_argument("--precision", choices=("fp32", "bf16"), help="of the convolutions (fp32, or that of the features)")


def pyramid_flags(p: argparse.ArgumentParser) -> None:
    """How a window's cells become its vector."""
    p.add_argument("--levels", type=positive, nargs="+", metavar="N", help="bins a side of the pyramid (1 2 3 6)")


def compute_flags(p: argparse.ArgumentParser) -> None:
    """How the features are computed."""
    p.add_argument("--weights", type=Path, metavar="FILE", help="of the convolutions, instead of the pretrained ones")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")


def proposal_flags(p: argparse.ArgumentParser) -> None:
    """Which candidate windows."""
    p.add_argument(
        "--proposals",
        metavar="SOURCE|FILE",
        help="ss, ss-single, ss-quality, edgeboxes or ss+edgeboxes (ss, or what the run or its model has); "
        "or somebody's boxes as .npz, .mat or .json, {split} in the name standing for the split",
    )
    p.add_argument("--max-boxes", type=positive, metavar="N", help="of an image, the best-ranked (all)")


def search_flags(p: argparse.ArgumentParser) -> None:
    """How candidate windows are searched."""
    p.add_argument("--min-side", type=int, default=20, help="shortest side of a proposal in pixels (%(default)s)")
    p.add_argument("--max-side", type=positive, default=1000, help="larger photos are searched downsized")
    p.add_argument("-j", "--workers", type=positive, default=os.cpu_count(), help="processes (%(default)s)")


def model_flags(p: argparse.ArgumentParser) -> None:
    """Where the model goes."""
    p.add_argument("--model", dest="to_model", type=Path, metavar="DIR", help="folder in the run folder (RUN/model)")


def svm_flags(p: argparse.ArgumentParser) -> None:
    """What the SVMs learn from, and how."""
    p.add_argument("--features", choices=("pool5", "fc6", "fc7"), default="pool5", help="layer (%(default)s)")
    p.add_argument("--head", metavar="FILE|imagenet|random", help="fc6 and fc7 (those that finetune left in the run)")
    p.add_argument("--memory", type=float, default=6.0, metavar="GB", help="of hard windows in memory (%(default)s)")
    p.add_argument("--solver", choices=("shared", "liblinear"), default="shared", help="see docs (%(default)s)")
    p.add_argument("--max-negatives-per-image", type=positive, metavar="N", help="of each class; default: all")
    p.add_argument(
        "--difficult", action=argparse.BooleanOptionalAction, default=True, help="difficult objects as positives"
    )


def detector_flags(p: argparse.ArgumentParser) -> None:
    """Which finished detector."""
    p.add_argument(
        "--model", default="lite0-voc2007", metavar="NAME|DIR", help="a detector that comes along, or a model folder"
    )


def scale_flags(p: argparse.ArgumentParser) -> None:
    """At which scales a finished detector looks."""
    p.add_argument("--scales", type=positive, nargs="+", help="short sides in pixels (those of the training)")


def metric_flags(p: argparse.ArgumentParser) -> None:
    """How detections are scored."""
    p.add_argument("--metric", choices=("voc07", "area"), default="voc07", help="11-point or area AP (%(default)s)")


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value


def seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"expected 0 to {2**32 - 1}, got {value}")
    return value


def amount(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


@dataclass(frozen=True)
class Run:
    """Where one run's data and artefacts lie."""

    devkit: Path
    year: str | None
    folder: Path
    options: Options

    @classmethod
    def of(cls, options: Options) -> Run:
        """Resolve the data set and the run folder from the flags.

        Raises:
            FileNotFoundError: there is no such data set.
        """
        if options.data and (options.devkit or options.voc2007):
            raise ValueError("--data names a data set of any format; leave --devkit and --voc2007 out, or --data")
        if not options.voc2007 and options.devkit is None and options.data is None:
            raise ValueError("which data? give --voc2007, or --data with the path of a data set")
        devkit = options.data or options.devkit or options.data_root / "VOCdevkit"
        if options.download and (options.devkit or options.data):
            raise ValueError("--download fetches VOC 2007 into --data-root; leave --devkit out, or --download")
        if options.download:
            from data.download import download_voc

            devkit = download_voc(options.data_root, "2007")
        name, year = ("voc2007", "2007") if options.voc2007 else (devkit.resolve().stem, None)
        if not (options.train_split and options.test_split):
            train, test = datasets.usual(devkit) if options.data else ("trainval", "test")
            options.train_split, options.test_split = options.train_split or train, options.test_split or test
        return cls(devkit, year, options.run or Path("runs") / name, options)

    def dataset(self, split: str, classes: Iterable[str] | None = None) -> Dataset:
        """The images of one split, within --limit."""
        names = None if classes is None else tuple(classes)
        skip_bad = self.options.skip_bad
        if self.options.data:
            found = datasets.load(self.devkit, split, classes=names, skip_bad=skip_bad)
        else:
            found = voc.load(self.devkit, self.year, split, classes=names, skip_bad=skip_bad)
        for record in found:
            if any(map(str.isspace, record.id)):  # comp4 files separate their columns by blanks
                raise ValueError(f"{found.name}: image id {record.id!r} holds white space; rename the image")
        return replace(found, records=found.records[: self.options.limit])

    @property
    def train(self) -> Dataset:
        return self.dataset(self.options.train_split)

    def proposals(self, split: str, source: str | None = None) -> Path:
        """File of the proposals of one split: as told, of `source`, of the only source the run has, else of "ss"."""
        told = self.options.proposals
        if told and self.given_boxes:
            return Path(told.replace("{split}", split))
        there = sorted(p.parent.name for p in self.folder.glob(f"proposals/*/{split}.npz"))
        if not (told or source) and len(there) > 1:
            raise ValueError(f"{self.folder}: has proposals of {', '.join(there)}; say which with --proposals")
        return self.folder / "proposals" / (told or source or (*there, "ss")[0]) / f"{split}.npz"

    @property
    def given_boxes(self) -> bool:
        """Whether --proposals names files of somebody's boxes rather than a source, which has no suffix."""
        return bool(self.options.proposals and Path(self.options.proposals).suffix)

    def features(self, backbone: str, config: Config, mirrored: bool = False) -> Path:
        """Folder of the conv5 maps of one network at some scales, of the photos or of their mirror images."""
        kind = "mirrored-features" if mirrored else "features"
        precision = () if config.precision == "fp32" else (config.precision,)
        return self.folder / kind / "-".join([backbone.replace(":", "-"), *map(str, config.pooling.scales), *precision])

    @property
    def model(self) -> Path:
        """Folder of the model to make; one run may hold several.

        Raises:
            ValueError: --model names a folder elsewhere, away from the features that it needs.
        """
        told = getattr(self.options, "to_model", None)
        if told and told.resolve().parent != self.folder.resolve():
            raise ValueError(f"--model {told}: expected a folder in the run, as {self.folder / told.name}")
        return told or self.folder / "model"

    @property
    def head(self) -> Path:
        """Folder of fine-tuned fully connected layers."""
        return self.folder / "head"

    def detections(self, split: str, stage: str) -> Path:
        """File of the detections of one split, before ("windows") or after ("regressed") box regression."""
        return self.folder / "detections" / f"{split}-{stage}.npz"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def configuration(self, made: bool = False) -> tuple[str, Config]:
        """The network and the constants: as told; else, with `made`, as the run's only features; else the preset's."""
        options = self.options
        backbone, scales, preset, precision = options.backbone, options.scales, options.preset, options.precision
        if made and backbone is None and scales is None:
            manifests = sorted(self.folder.glob("features/*/manifest.json"))
            if len(manifests) == 1:
                manifest = FeatureCache(manifests[0].parent).manifest
                backbone, scales = manifest["network"], manifest["scales"]
                preset, precision = preset or manifest["preset"], precision or manifest.get("precision")
        config = replace(PRESETS[preset or "paper"], precision=precision or "fp32")
        if getattr(options, "levels", None):
            config = replace(config, pooling=replace(config.pooling, levels=tuple(options.levels)))
        return backbone or "alexnet", config.with_scales(tuple(scales)) if scales else config


@contextmanager
def exclusive(artefact: Path) -> Iterator[None]:
    """Keep other processes off an artefact of a run until it is made.

    Raises:
        RuntimeError: another process is making it.
    """
    artefact.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(artefact.with_name(f".{artefact.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(
            f"{artefact}: another process is at work on it; wait for it, or choose another --run"
        ) from None
    try:
        yield
    finally:
        lock.release()


class Incomplete(RuntimeError):
    """Part of the work could not be done; what was done is in `result`."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


SHOWN = 3  # unusable files in the last line; all are in the json and were named before


def complete(result: dict[str, Any], bad: dict[str, str], total: int) -> dict[str, Any]:
    """The result, if every file could be used.

    Raises:
        Incomplete: some could not.
    """
    if not bad:
        return result
    named = list(bad.values())
    more = f"; and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    message = f"{len(named)} of {total} files could not be used: {'; '.join(named[:SHOWN])}{more}"
    raise Incomplete(message, result)


def main(tool: Callable[[Options], dict[str, Any]], flags: argparse.ArgumentParser, argv: list[str] | None) -> int:
    """Run a tool: parse, call, report.

    Returns:
        exit code: 0 done, 1 an expected failure, 130 interrupted. argparse itself leaves with 2.
    """
    options = flags.parse_args(argv)
    progress.start(options)
    started = time.monotonic()
    try:
        problem = None
        try:
            result = tool(options)
        except Incomplete as incomplete:
            result, problem = incomplete.result, incomplete
        if options.json:
            write_json(options.json, result, options, time.monotonic() - started)
        if problem:
            raise problem
    except KeyboardInterrupt:
        print("interrupted; the same command, without --overwrite, continues", file=sys.stderr)
        return 130
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        if options.debug:
            traceback.print_exc()
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    return 0


def one_line(error: BaseException) -> str:
    """What an error says, for people."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror and error.filename:
        text = f"{error.filename}: {error.strerror}"
    return " ".join(text.split())


def write_json(path: Path, result: dict[str, Any], options: Options, seconds: float) -> None:
    """Write a result with all that is needed to repeat it, atomically."""
    report = {
        "result": result,
        "settings": vars(options),
        "seconds": round(seconds, 2),
        "peak_memory_bytes": peak_memory(),
        "versions": environment.versions(),
        "hardware": environment.hardware(),
    }
    write_text(path, json.dumps(report, indent=1, default=os.fspath) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file, atomically; its folder is made if absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [text.encode()])


def peak_memory() -> int | None:
    """Most bytes this process, or one of its finished workers, had resident; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak if sys.platform == "darwin" else peak * 1024


def list_bad(bad: dict[str, str]) -> None:
    """Name the images that were left out."""
    for image_id, reason in bad.items():
        progress.log.warning("left out %s: %s", image_id, reason)
