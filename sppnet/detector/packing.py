"""A trained detector packed for others: half precision, and a card that says where it comes from and how good it is."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detection import model
from detection.config import Config, View
from detection.detector import SPPDetector
from detection.files import parse_json, write_atomically
from detection.model import CARD, Model
from detection.model_settings import HEAD, MODEL, REGRESSORS, SVMS
from detection.temporary import remove_leftovers, temporary_path
from detection.training.images import feature_sample
from sppnet import environment
from sppnet.detector.testing import STAGES
from sppnet.detector.training_images import training_images_of
from sppnet.run import Run
from sppnet.settings.commands import ExportModelSettings

TIMED_PHOTOS = 10


def pack_model(run: Run, settings: ExportModelSettings) -> dict[str, Any]:
    """Write a model of a run in half precision, with its card, in place of an earlier packed model.

    Args:
        run: holds the model; its test photos are timed.
        settings: destination, compression, what the card says.

    Returns:
        the card.

    Raises:
        FileNotFoundError: there is no such model, or no report.
        ValueError: the destination is the model itself, or it has no layers to compress.
        FileExistsError: the destination holds another model, or files of other origin in place of its own.
        OSError: a file cannot be written.
    """
    s, source = settings, run.model(settings.model_name)
    if s.to.exists() and source.exists() and s.to.samefile(source):
        raise ValueError(f"--to {s.to}: is the run's own model; name another folder")
    _check_destination(s.to)
    reports = {read_inference(path): read_scores(path) for path in s.report or ()}
    trained = model.load(source)
    inference = s.inference or trained.config.inference
    trained = trained.with_views(View.parse_all(s.views)) if s.views else trained
    trained = trained.with_inference(inference) if inference else trained
    if reports and trained.config.inference not in reports:
        raise ValueError(
            f"--report: measured {', '.join(map(str, reports))} inference, but the model is packed for "
            f"{trained.config.inference}; test with that, or give another --inference"
        )
    if s.energy is not None:
        trained = _compressed(run, trained, s)
    s.to.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(s.to.parent)
    packed = temporary_path(s.to)
    try:
        trained.save(packed, half=True)
        card = _card(run, s, trained, packed, reports)
        write_atomically(packed / CARD, [(json.dumps(card, indent=1) + "\n").encode()])
        s.to.mkdir(exist_ok=True)
        for file in (CARD, SVMS, REGRESSORS, HEAD, MODEL):
            if (packed / file).exists():
                (packed / file).replace(s.to / file)
            else:
                (s.to / file).unlink(missing_ok=True)
    finally:
        shutil.rmtree(packed, ignore_errors=True)
    return card


def _check_destination(folder: Path) -> None:
    """Check that a folder holds no model, or a packed one."""
    there = [name for name in (MODEL, SVMS, REGRESSORS, HEAD, CARD) if (folder / name).exists()]
    try:
        packed = CARD in there and "weights_sha256" in parse_json((folder / CARD).read_text("utf-8"))
    except (TypeError, ValueError):
        packed = False
    if there and not packed:
        raise FileExistsError(
            f"--to {folder}: holds {', '.join(there)}, which `sppnet export model` did not write; name another folder"
        )


def _card(
    run: Run, s: ExportModelSettings, trained: Model, packed: Path, reports: Mapping[str | None, dict[str, Any]]
) -> dict[str, Any]:
    used = trained.config.inference
    detector = SPPDetector.from_pretrained(packed, device=s.device, weights=s.weights or "pretrained")
    return {
        "trained_on": {"data": trained.notes["data"], "images": trained.notes["images"]},
        "network": trained.network,
        "weights_sha256": trained.weights_hash,
        "classes": list(trained.classes),
        "features": trained.fc.layer if trained.fc else "pool5",
        "scales": list(trained.config.pooling.scales),
        "precision": trained.config.precision,
        "proposals": trained.proposals,
        "commands": list(s.command or ()),
        "commit": _commit(),
        "inference": used,
        "scores": reports.get(used),
        "other_inference": {str(name): _figures(scores) for name, scores in reports.items() if name != used},
        "seconds_per_image": _seconds(detector, [r.path for r in run.dataset(run.test_split)]),
        "processor": environment.processor(),
        "bytes": sum(file.stat().st_size for file in packed.iterdir()),
        "licence": s.licence,
    }


def _figures(scores: dict[str, Any]) -> dict[str, Any]:
    """The figures of the last stage, without those of single classes."""
    last = list(scores.values())[-1]
    return {name: value for name, value in last.items() if name != "ap"}


def _compressed(run: Run, trained: Model, s: ExportModelSettings) -> Model:
    """The model with smaller fully connected layers, measured on windows of its training images."""
    if trained.fc is None:
        raise ValueError(f"--energy {s.energy}: the model learned from pool5, it has no layers to compress")
    assert s.energy is not None
    images = training_images_of(run, trained, s)
    head = trained.fc.head.compressed(feature_sample(images.views[0]), s.energy)
    fc = type(trained.fc)(head, trained.fc.layer, trained.fc.precision)
    return replace(trained, fc=fc, notes=trained.notes | {"energy": s.energy})


def read_scores(path: Path) -> dict[str, Any]:
    """Scores of each stage from a report of `sppnet stage test-net --json`.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else, or its metric is not voc07.
    """
    try:
        found = parse_json(path.read_text("utf-8"))["result"]
        stages = {stage: found[stage] for stage in STAGES if stage in found}
        metrics = {r["metric"] for r in stages.values()}
        scores = {s: {"voc07_map": r["mean_ap"], "coco_ap": r["coco"]["ap"], "ap": r["ap"]} for s, r in stages.items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: not a report of test-net --json ({error})") from error
    if metrics - {"voc07"}:
        raise ValueError(f"{path}: scored with --metric area, but cards state 11-point AP; test with --metric voc07")
    return scores


def read_inference(path: Path) -> str | None:
    """The way of inference that a report of `sppnet stage test-net --json` measured; None if it has no name.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else.
    """
    try:
        return Config.from_dict(parse_json(path.read_text("utf-8"))["result"]["configuration"][0]["config"]).inference
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: not a report of test-net --json ({error})") from error


def _seconds(detector: SPPDetector, photos: Sequence[Path]) -> float:
    """Median time from file to detections, without the first photo."""
    times = []
    for path in photos[: TIMED_PHOTOS + 1]:
        started = time.perf_counter()
        detector.detect(path)
        times.append(time.perf_counter() - started)
    return round(statistics.median(times[1:] or times), 3)


def _commit() -> str | None:
    """The commit of the clone that this program runs in, if it is one."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
