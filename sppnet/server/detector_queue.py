"""Behind the local page: detectors on offer, photos checked and decoded, one detection at a time."""

from __future__ import annotations

import io
import json
import tempfile
import time
import warnings
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tools.common import one_line

from detection import SPPDetector, zoo
from detection.image import read
from detection.model import MODEL

DEFAULT = "lite0-voc2007"
CARD = "card.json"
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "PPM")
"""Of photos. Pillow decodes more, some of them (EPS) by starting other programs: not for what strangers send."""
MAX_ELONGATION = 20
"""Long over short side. The short side is resized to some 688 pixels, so that a thin strip grows beyond all memory."""
MAX_WAITING = 16
"""Photos in the queue; each may hold the upload limit in memory."""
FAILURES = (OSError, ValueError, RuntimeError, MemoryError)


class Refused(RuntimeError):
    """What a client is told in the place of detections.

    Args:
        status: of HTTP.
        message: one sentence, for people.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """Of an upload.

    Attributes:
        megabytes: of the file, a million bytes each.
        megapixels: of the photo, a million pixels each.
    """

    megabytes: int = 20
    megapixels: int = 50


@dataclass(frozen=True)
class Offer:
    """A detector that can be asked for, loaded or not.

    Attributes:
        name: as it was given.
        folder: of the model.
        weights: of its convolutions: "pretrained", or a file.
        card: network, classes, and where they are known mAP on VOC 2007 and seconds a photo.
    """

    name: str
    folder: Path
    weights: str | Path
    card: dict[str, Any]

    @classmethod
    def of(cls, name: str, weights: str | Path = "pretrained") -> Offer:
        """Look a detector up without loading it.

        Raises:
            FileNotFoundError: there is no such model.
            ValueError: its files are damaged.
        """
        folder = zoo.folder_of(name)
        if not (folder / MODEL).is_file():
            raise FileNotFoundError(f"{folder / MODEL}: no such model; train one with train_svms, or name another")
        model = _json(folder / MODEL)
        card = _json(folder / CARD) if (folder / CARD).is_file() else {}
        if not {"network", "classes"} <= model.keys():
            raise ValueError(f"{folder / MODEL}: damaged (expected a network and classes)")
        told = {
            "network": model["network"],
            "classes": model["classes"],
            "map": card.get("scores", {}).get("regressed", {}).get("voc07_map"),
            "seconds": card.get("seconds_per_image"),
        }
        return cls(name, folder, weights, told)


def offers(given: Iterable[str], weights: Path | None = None) -> dict[str, Offer]:
    """name -> detector: those given, then those that come along; with none given, the default goes first.

    Args:
        given: names or model folders.
        weights: file of the convolutions of those given.

    Raises:
        FileNotFoundError: one of them is not there.
        ValueError: one of them is damaged, or there are weights of nothing.
    """
    asked = list(given)
    if weights and not asked:
        raise ValueError(f"--weights {weights}: of which model? give --model as well")
    found = {name: Offer.of(name, weights or "pretrained") for name in asked}
    others = sorted(zoo.names(), key=lambda name: (name != DEFAULT, name))
    return found | {name: Offer.of(name) for name in others if name not in found}


class Stages:
    """Seconds of one stage after the other, from the making of this object on."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def end(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage], self._last = now - self._last, now

    def rounded(self) -> dict[str, float]:
        """All of them, and their total."""
        return {name: round(s, 4) for name, s in (self.seconds | {"total": sum(self.seconds.values())}).items()}


class Desk:
    """Detectors, and the queue before them: served in order, in one thread.

    Args:
        offers: name -> detector; the first is that of requests which name none.
        limits: of uploads.
        device: "auto", "cpu", "cuda" or "cuda:N".
    """

    def __init__(self, offers: dict[str, Offer], limits: Limits, device: str = "auto") -> None:
        self.offers, self.limits, self.device = offers, limits, device
        self.loaded: dict[str, SPPDetector] = {}
        self.served = 0
        self._worker = ThreadPoolExecutor(1, "detector")
        self._jobs: set[Future[dict[str, Any]]] = set()
        self._closing = False
        Image.init()  # Pillow's decoders now rather than with the first photo

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()
        self._worker.shutdown()

    @property
    def default(self) -> str:
        return next(iter(self.offers))

    @property
    def waiting(self) -> int:
        """Photos in the queue, that at work among them."""
        return len(self._jobs)

    def submit(self, data: bytes, name: str | None, threshold: float) -> Future[dict[str, Any]]:
        """Put a photo into the queue.

        Args:
            data: the file as it was uploaded.
            name: of the detector; None: the default.
            threshold: least SVM margin.

        Returns:
            what becomes model, width, height, detections, seconds, or `Refused`. Cancelled, it costs no detection
            unless that has begun.

        Raises:
            Refused: nobody knows the detector, the queue is full, or the desk is closing.
        """
        name = name or self.default
        if name not in self.offers:
            raise Refused(404, f"model {name!r}: expected one of {', '.join(self.offers)}")
        if self._closing:
            raise Refused(503, "the server is shutting down")
        if self.waiting >= MAX_WAITING:
            raise Refused(503, f"{self.waiting} photos are waiting already; try again in a moment")
        job = self._worker.submit(self._answer, data, name, threshold, Stages())
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    def dismiss(self) -> None:
        """Take no more photos, and cancel those whose turn has not come."""
        self._closing = True
        for job in list(self._jobs):
            job.cancel()

    def detector(self, name: str) -> SPPDetector:
        """A detector, loaded and tried at its first use, kept from then on.

        Raises:
            Refused: it cannot be loaded.
        """
        if name not in self.loaded:
            offer = self.offers[name]
            try:
                detector = SPPDetector.from_pretrained(offer.folder, device=self.device, weights=offer.weights)
                detector.detect(np.zeros((64, 64, 3), np.uint8))  # compiles the kernels, and tells if windows are made
            except FAILURES as error:
                raise Refused(503, f"{name} cannot be used: {one_line(error)}") from error
            self.loaded[name] = detector
        return self.loaded[name]

    def _answer(self, data: bytes, name: str, threshold: float, stages: Stages) -> dict[str, Any]:
        stages.end("wait")
        photo = decode(data, self.limits)
        stages.end("decode")
        detector = self.detector(name)
        stages.end("load")
        try:
            windows = detector.propose(photo)
            stages.end("windows")
            found = detector.detect(photo, windows).filter(threshold)
            stages.end("detect")
        except ValueError as error:
            raise Refused(422, one_line(error)) from error
        except FAILURES as error:
            raise Refused(500, f"{name}: {one_line(error)}") from error
        self.served += 1
        height, width = photo.shape[:2]
        size = {"width": width, "height": height}
        return {"model": name, **size, "detections": found.records(), "seconds": stages.rounded()}


def decode(data: bytes, limits: Limits) -> NDArray[np.uint8]:
    """The photo in a file's bytes; its header is judged before its pixels are decoded.

    Returns:
        uint8 RGB (H, W, 3), turned as its EXIF tag says.

    Raises:
        Refused: it is empty, of no format of photos, too large or too thin, or damaged.
    """
    if not data:
        raise Refused(422, "the photo is empty (0 bytes); send an image file")
    width, height = _size(data)
    if width * height > limits.megapixels * 1_000_000:
        size = f"{width} x {height} pixels"
        raise Refused(413, f"the photo has {size}, at most {limits.megapixels} megapixels are taken; resize it")
    if max(width, height) > MAX_ELONGATION * min(width, height):
        allowed = f"one side may be {MAX_ELONGATION} times the other"
        raise Refused(422, f"the photo has {width} x {height} pixels, {allowed}; crop it")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo"
        path.write_bytes(data)
        try:
            return read(path)
        except ValueError as error:
            raise Refused(422, one_line(error).removeprefix(f"{path}: ")) from error


def _size(data: bytes) -> tuple[int, int]:
    """(width, height) that the header tells."""
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's own limit on pixels, and of odd metadata
            with Image.open(io.BytesIO(data), formats=formats) as picture:
                return picture.size
    except Image.DecompressionBombError as error:
        raise Refused(413, f"{one_line(error)}; resize it") from error
    except Image.UnidentifiedImageError:
        raise Refused(415, f"the file is no photo of a known format ({', '.join(formats)})") from None
    except Exception as error:  # decoders raise nearly anything on damaged data
        raise Refused(422, f"damaged image ({one_line(error)}); replace the file") from error


def _json(path: Path) -> dict[str, Any]:
    """An object from a file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        told = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({one_line(error)})") from error
    if not isinstance(told, dict):
        raise ValueError(f"{path}: damaged (expected an object)")
    return told
