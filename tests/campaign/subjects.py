"""What is damaged: for every reader of files, sound files, the call that reads them, and what it may accept."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data import datasets, writers
from data.records import Dataset, ImageRecord
from detection import image, model, network
from detection.cache import FeatureCache
from detection.detection_table import load_npz, save_npz
from detection.detections import Detections
from detection.evaluation.results import read_comp4, write_comp4
from detection.files import parse_json
from detection.model_settings import MODEL
from detection.networks.fc_head import FcHead
from detection.photo_record import PhotoRecord
from detection.training import checkpoint, svm_checkpoint
from detection.training.solver import SharedState
from detection.value_digest import DIGEST
from detection.weights.state_dict import read_state, write_state
from proposals import io as proposal_io
from sppnet.cli import main
from sppnet.labelling import payloads
from sppnet.labelling.label_config import LabelConfig
from sppnet.labelling.regions import read_regions
from sppnet.server.errors import RequestRefused
from tests.campaign import run_subjects
from tests.campaign.subject import Subject
from tests.data import tools
from tests.detection.conftest import trained

CLASSES = ("cat", "dog", "größe")
SIZE = (48, 64)  # (H, W) of the photos


def records(folder: Path) -> tuple[ImageRecord, ...]:
    """Three photos with objects."""
    rng, made = np.random.default_rng(0), []
    for number, name in enumerate(("a", "b", "c")):
        path = folder / f"{name}.png"
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), np.uint8)).save(path)
        boxes = np.array([[4, 5, 30, 40], [10, 2, 60, 20]], np.float32)[: 1 + number % 2]
        labels = np.arange(len(boxes)) + number
        made.append(
            ImageRecord(name, path, SIZE, boxes, labels % 3, np.zeros(len(boxes), np.bool_), file_id=number + 1)
        )
    return tuple(made)


def _dataset(kind: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        (folder / "photos").mkdir()
        found = records(folder / "photos")
        parts = {"train": found[:2], "test": found[2:]}
        sets = {split: Dataset(split, CLASSES, part) for split, part in parts.items()}
        writers.write(folder / "set", sets, kind, copy=True)
        return [
            p for p in sorted((folder / "set").rglob("*")) if p.suffix in {".xml", ".json", ".txt", ".csv", ".yaml"}
        ]

    return make


def _labelme(folder: Path) -> list[Path]:
    (folder / "set").mkdir()
    shapes = [("cat", "rectangle", [[4, 5], [30, 40]]), ("dog", "polygon", [[1, 1], [40, 2], [20, 30]])]
    return [tools.labelme(folder / "set" / f"{name}.json", shapes) for name in "ab"]


def _via(folder: Path) -> list[Path]:
    (folder / "set").mkdir()
    for name in "ab":
        tools.photo(folder / "set" / f"{name}.png")
    regions = [
        tools.via_region(tools.rect(4, 5, 20, 20), kind="cat"),
        tools.via_region(tools.rect(1, 1, 9, 9), kind="dog"),
    ]
    return [tools.via(folder / "set" / "via.json", {"a.png": regions, "b.png": regions[:1]})]


def _check_dataset(folder: Path) -> str | None:
    """Read every split, and then all once more without what is unusable."""
    for skip_bad in (True, False):
        for found in datasets.load_all(folder / "set", skip_bad=skip_bad).values():
            if wrong := _fault_of(found):
                return wrong
    return None


def _fault_of(found: Dataset) -> str | None:
    """What no data set may hold."""
    if len(set(found.classes)) < len(found.classes) or not all(isinstance(c, str) and c.strip() for c in found.classes):
        return f"classes {found.classes}"
    if len({r.id for r in found}) < len(found.records):
        return "two images of one id"
    for r in found:
        (height, width), b = r.size, r.boxes
        inside = (
            np.isfinite(b).all()
            and (b >= 0).all()
            and (b[:, 2::2] <= width - 1).all()
            and (b[:, 3::2] <= height - 1).all()
        )
        if not inside or (b[:, 2] < b[:, 0]).any() or (b[:, 3] < b[:, 1]).any():
            return f"{r.id}: boxes {b.tolist()} in {r.size}"
        if not len(r.labels) == len(b) == len(r.difficult) or not np.isin(r.labels, range(len(found.classes))).all():
            return f"{r.id}: labels {r.labels.tolist()} of {len(found.classes)} classes"
        if not r.path.is_file():
            return f"{r.id}: photo {r.path} is missing"
    return None


def _photos(folder: Path) -> list[Path]:
    pixels = np.random.default_rng(1).integers(0, 255, (*SIZE, 3), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: a quarter turn
    kinds: Mapping[str, dict[str, Any]] = {
        "a.jpg": {"quality": 90},
        "progressive.jpg": {"progressive": True},
        "exif.jpg": {"exif": turned.tobytes()},
        "a.png": {},
        "a.webp": {},
        "a.tiff": {"compression": "tiff_lzw"},
        "a.gif": {},
        "a.bmp": {},
    }
    for name, options in kinds.items():
        Image.fromarray(pixels).save(folder / name, **options)
    return sorted(folder.iterdir())


def _check_photo(folder: Path) -> str | None:
    """Every photo is refused by name, or is an array of pixels."""
    errors = []
    for path in sorted(folder.iterdir()):
        try:
            found = image.read(path)
        except (OSError, ValueError) as error:
            errors.append(error)
            continue
        if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] != 3 or not found.size:
            return f"{path.name}: {found.dtype} {found.shape}"
    if errors:
        raise errors[0]
    return None


BOXES = {"a": np.array([[0, 0, 9, 19], [1.5, 2, 30, 40]], np.float32), "b": np.array([[3, 4, 5, 6]], np.float32)}


def _proposals(folder: Path) -> list[Path]:
    for name in ("boxes.npz", "boxes.mat"):
        proposal_io.save(folder / name, BOXES, {"source": "ss", "max_boxes": None})
    (folder / "boxes.json").write_text(json.dumps({name: boxes.tolist() for name, boxes in BOXES.items()}))
    results = [{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}, {"image_id": 2, "bbox": [1, 2, 3, 4], "score": 0.7}]
    (folder / "results.json").write_text(json.dumps(results))
    return sorted(folder.iterdir())


def _check_proposals(folder: Path) -> str | None:
    errors = []
    for path in sorted(folder.iterdir()):
        try:
            found, _ = proposal_io.load(path)
        except (OSError, ValueError) as error:
            errors.append(error)
            continue
        for name, boxes in found.items():
            bad = not np.isfinite(boxes).all() or (boxes[:, 2] < boxes[:, 0]).any() or (boxes[:, 3] < boxes[:, 1]).any()
            if bad or boxes.dtype != np.float32 or boxes.shape[1:] != (4,):
                return f"{path.name}: {name} {boxes.tolist()}"
    if errors:
        raise errors[0]
    return None


def _detections() -> dict[str, Detections]:
    boxes, scores = np.array([[1, 2, 30, 40], [5, 5, 9, 9]], np.float32), np.array([0.5, -0.25], np.float32)
    return {"a": Detections(boxes, scores, np.array([0, 1])), "b": Detections(boxes[:1], scores[:1], np.array([2]))}


def _check_table(found: Mapping[str, Detections]) -> str | None:
    for name, d in found.items():
        if not (np.isfinite(d.boxes).all() and np.isfinite(d.scores).all() and (d.labels >= 0).all()):
            return f"{name}: {d.boxes.tolist()} {d.scores.tolist()} {d.labels.tolist()}"
    return None


def _results(folder: Path) -> list[Path]:
    save_npz(folder / "found.npz", _detections(), {"classes": list(CLASSES)})
    return [folder / "found.npz", *write_comp4(folder, _detections(), CLASSES, "test")]


def _check_results(folder: Path) -> str | None:
    return _check_table(load_npz(folder / "found.npz")[0]) or _check_table(read_comp4(folder, CLASSES, "test"))


_BODY = network.build("alexnet", weights=None)


def _model(folder: Path) -> list[Path]:
    trained(_BODY).save(folder / "model", half=True)
    return sorted((folder / "model").iterdir())


def _check_model(folder: Path) -> str | None:
    """A loaded model has finite numbers; its tensors and, where it has a digest, its values are the saved ones."""
    found, sound = model.load(folder / "model"), trained(_BODY)
    if not (np.isfinite(found.svms.weights).all() and np.abs(found.svms.weights - sound.svms.weights).max() < 1e-3):
        return "other weights"
    if DIGEST in json.loads((folder / "model" / MODEL).read_bytes()) and found.summary() != sound.summary():
        return f"other values: {found.summary()}"
    return None if len(found.classes) == len(found.svms.weights) else f"{len(found.classes)} classes"


MAPS = [np.random.default_rng(2).random((8, 6, 7), np.float32).astype(np.float16)]


def _cache(folder: Path) -> list[Path]:
    cache = FeatureCache(folder / "cache", {"network": "x", "scales": [1]})
    cache.write("a", MAPS, {"image_size": [48, 64]})
    PhotoRecord(cache.photos).note(PhotoRecord(cache.photos).look(()))
    return [cache.path("a"), folder / "cache" / "manifest.json"]


def _check_cache(folder: Path) -> str | None:
    maps, meta = FeatureCache(folder / "cache").read("a")
    same = len(maps) == 1 and np.array_equal(maps[0], MAPS[0]) and meta == {"image_size": [48, 64]}
    return None if same else "other maps"


STATE = {"weights": [1.0, 2.0], "iteration": 7, "losses": [0.5, 0.25]}


def _checkpoints(folder: Path) -> list[Path]:
    checkpoint.save(folder / "checkpoint.pt", "key", **STATE)
    return [folder / "checkpoint.pt"]


def _check_checkpoint(folder: Path) -> str | None:
    found = checkpoint.load(folder / "checkpoint.pt", "key")
    return None if found is None or all(found[name] == value for name, value in STATE.items()) else f"{found}"


def _weights(folder: Path) -> list[Path]:
    state = {name: tensor.contiguous() for name, tensor in FcHead(100, 8).eval().state_dict().items()}
    write_state(folder / "head.safetensors", state)
    return [folder / "head.safetensors"]


def _check_weights(folder: Path) -> str | None:
    """Weights without a stated hash may be any numbers; `FcHead.of` refuses other names and shapes."""
    head = FcHead.of(read_state(folder / "head.safetensors"), str(folder / "head.safetensors"))
    return None if head.fc6.in_features else "no inputs"


def _photo_record(folder: Path) -> list[Path]:
    found = records(folder)
    record = PhotoRecord(folder / "photos.json")
    record.note(record.look(found))
    return [folder / "photos.json"]


def _check_photo_record(folder: Path) -> str | None:
    known = PhotoRecord(folder / "photos.json").known
    right = all(isinstance(i, str) and isinstance(state.sha256, str) for i, state in known.items())
    return None if right else f"{known}"


def _svm_checkpoint(folder: Path) -> list[Path]:
    svm_checkpoint.save(folder, _mined())
    return [folder / svm_checkpoint.FILE]


def _mined() -> svm_checkpoint.Checkpoint:
    rng = np.random.default_rng(3)
    state = SharedState(
        labels=np.array([[1, -1], [-1, 0], [0, -1], [-1, 1]], np.int8),
        alpha=rng.random((4, 2), np.float32),
        squares=rng.random(4),
        weights=rng.random((2, 5), np.float32),
        bias_weights=rng.random(2),
    )
    places = np.arange(4)
    return svm_checkpoint.Checkpoint("key", places, places * 2, state, 0.5, np.array([3, 1]), 2, 7)


def _check_svm_checkpoint(folder: Path) -> str | None:
    found, sound = svm_checkpoint.load(folder, "key"), _mined()
    if found is None:
        return None
    pairs = [
        (getattr(a.state, name), getattr(b.state, name)) for a, b in ((found, sound),) for name in vars(sound.state)
    ]
    same = all(np.array_equal(a, b) for a, b in (*pairs, (found.image, sound.image), (found.box, sound.box)))
    return None if same and found.next_image == sound.next_image else "another state"


def _bodies(folder: Path) -> list[Path]:
    result = [tools.region("cat", 4, 5, 20, 20)]
    body = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": 1, "label_config": "<View/>"},
        "task": {"id": 3, "data": {"image": "/data/upload/1/a.jpg"}},
        "annotation": {
            "id": 5,
            "task": 3,
            "result": result,
            "was_cancelled": False,
            "updated_at": "2026-01-01T00:00:00Z",
        },
    }
    (folder / "body.json").write_text(json.dumps(body))
    return [folder / "body.json"]


def _check_body(folder: Path) -> str | None:
    """A body is refused, or gives a task, an annotation and a name that is a plain file's."""
    try:
        body = payloads.mapping(parse_json((folder / "body.json").read_bytes()), "body.json")
        task = payloads.task(body.get("task"))
        annotation = payloads.annotation(body.get("annotation"), task.id)
    except RequestRefused as refusal:
        raise ValueError(f"body.json: {refusal}") from None
    except ValueError as error:
        raise ValueError(f"body.json: {error}") from None
    name = payloads.image_id(task.id, task.url("image"))
    plain = name and Path(name).name == name and not name.startswith(".") and "\0" not in name
    objects = read_regions(annotation.regions, LabelConfig("label", "image", "image", CLASSES), SIZE)
    inside = all(0 <= x0 <= x1 < SIZE[1] and 0 <= y0 <= y1 < SIZE[0] for x0, y0, x1, y1 in objects.boxes)
    return None if plain and inside and isinstance(annotation.regions, list) else f"name {name!r}, {objects}"


def _command(folder: Path) -> list[Path]:
    (folder / "settings.yaml").write_text(f"data: {folder / 'set'}\nsplits: [train, test]\nskip_bad: true\n")
    return [folder / "settings.yaml", *_dataset("voc")(folder)]


def _check_command(folder: Path) -> str | None:
    """A command ends with 0, or with 1 or 2 and one line."""
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(["check", "--config", str(folder / "settings.yaml"), str(folder / "set"), "--quiet"])
        except SystemExit as end:  # argparse's
            code = end.code if isinstance(end.code, int) else 3
    lines = [line for line in errors.getvalue().splitlines() if "error: " in line]
    right = code == 0 or (code in (1, 2) and len(lines) == 1 and "Traceback" not in errors.getvalue())
    return None if right else f"exit code {code}: {errors.getvalue()[-300:]}"


SUBJECTS = {
    **{f"labels: {kind}": Subject(_dataset(kind), _check_dataset) for kind in writers.FORMATS},
    "labels: labelme": Subject(_labelme, _check_dataset),
    "labels: via": Subject(_via, _check_dataset),
    "photos": Subject(_photos, _check_photo),
    "proposals": Subject(_proposals, _check_proposals),
    "detections": Subject(_results, _check_results),
    "model": Subject(_model, _check_model),
    "feature cache": Subject(_cache, _check_cache),
    "checkpoint": Subject(_checkpoints, _check_checkpoint),
    "weights": Subject(_weights, _check_weights),
    "photo record": Subject(_photo_record, _check_photo_record),
    "SVM checkpoint": Subject(_svm_checkpoint, _check_svm_checkpoint),
    "Label Studio's requests": Subject(_bodies, _check_body),
    "command": Subject(_command, _check_command),
    **run_subjects.SUBJECTS,
}
