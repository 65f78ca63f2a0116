"""Detection in many photo files, as an engine does it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from detection.detections import Detections
from detection.detector import SPPDetector
from detection.engines.engine import Engine
from sppnet.settings.commands import DetectSettings


def load_detector(settings: DetectSettings, device: str | None = None) -> SPPDetector:
    """The detector that settings name.

    Args:
        settings: model, weights, scales, inference, overlap, device.
        device: instead of that of the settings.

    Raises:
        OSError, ValueError: it cannot be loaded.
    """
    s = settings
    return SPPDetector.from_pretrained(
        s.model,
        device=device or s.device,
        weights=s.weights or "pretrained",
        scales=s.scales,
        inference=s.inference,
        nms_iou=s.nms_iou,
    )


@dataclass(frozen=True)
class PhotoDetector:
    """What detects in photo files as one of many workers, see `Make`; each loads the detector that settings name."""

    settings: DetectSettings

    def __call__(self) -> Callable[[tuple[int, Path]], Detections]:
        """Return the function of a numbered photo file."""
        detector = load_detector(self.settings)
        return lambda numbered: replace(detector.detect(numbered[1]), photo=numbered[1])


def detect_files(
    settings: DetectSettings, paths: Iterable[Path], engine: Engine
) -> Generator[tuple[Path, Future[Detections]], None, None]:
    """Yield the photo files with their detections, in order.

    Args:
        settings: the detector.
        paths: photo files, which the workers find under the same paths.
        engine: what does the work.

    Returns:
        each file, and a finished future of its detections, whose `photo` is the path. It raises OSError or ValueError
        for a file that cannot be used, or `WorkerLost`.
    """
    early: dict[int, tuple[Path, Future[Detections]]] = {}
    wanted = 0
    with closing(engine.map(PhotoDetector(settings), enumerate(paths))) as results:
        for (number, path), outcome in results:
            early[number] = path, outcome
            while wanted in early:
                yield early.pop(wanted)
                wanted += 1
