"""Find objects in photos, folders and videos: pictures with boxes, tables, json, cut-out objects.

Results are written as they come. Files that are not from sppnet are never replaced. --export writes the photos with
their detections as labels, to be corrected in a labelling tool; its folder appears at the end, whole or not at all.

sppnet detect holiday/ --model lite2-voc2007 --save found/
sppnet detect holiday/ --export cvat --export-to to_correct/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sppnet.errors import complete
from sppnet.settings.commands import DetectSettings

if TYPE_CHECKING:
    from sppnet.json_report import CommandReport

SETTINGS = DetectSettings
REPORTS_ITEMS = True


def run(settings: DetectSettings, report: CommandReport) -> None:
    """Detect, and report photo by photo."""
    from data import media
    from detection.pictures import video
    from sppnet.detector.detection_export import check_export
    from sppnet.detector.detection_outputs import DetectionOutputs
    from sppnet.detector.output_paths import check_pictures
    from sppnet.detector.photo_detection import load_detector
    from sppnet.engines import engine_of
    from sppnet.output_files import is_own
    from sppnet.parquet_table import require_pyarrow

    s = settings
    if s.parquet:
        require_pyarrow()
    sources = media.find(s.sources, media.PHOTOS | video.SUFFIXES, is_own)
    check_pictures(s, sources, report.path)
    check_export(s, sources, report.path)
    engine = engine_of(s, s.device)
    detector = load_detector(s, "cpu" if engine else s.device)
    unknown = set(s.classes or ()) - set(detector.classes)
    if unknown:
        raise ValueError(f"--classes {', '.join(sorted(unknown))}: the model knows {', '.join(detector.classes)}")
    if s.threshold is not None and detector.model.calibration is None:
        raise ValueError(f"--threshold: {s.model} states no probabilities; train it again, or give --score-threshold")
    outputs = DetectionOutputs(detector, s, report, print, engine)
    outputs.detect(sources)
    complete(None, outputs.bad, len(sources))
