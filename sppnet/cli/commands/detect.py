"""Find objects in photos, folders and videos: pictures with boxes, json, csv, cut-out objects.

sppnet detect holiday/ --model lite2-voc2007 --save found/
"""

from __future__ import annotations

from typing import Any

from sppnet.errors import complete
from sppnet.settings.detector import DetectSettings

SETTINGS = DetectSettings


def run(settings: DetectSettings) -> dict[str, Any]:
    """Return what was found, photo by photo."""
    from data import media
    from detection.detector import SPPDetector
    from detection.pictures import video
    from sppnet.detector.detection_outputs import DetectionOutputs

    s = settings
    sources = media.find(s.sources, media.PHOTOS | video.SUFFIXES)
    detector = SPPDetector.from_pretrained(s.model, device=s.device, weights=s.weights or "pretrained", scales=s.scales)
    unknown = set(s.classes or ()) - set(detector.classes)
    if unknown:
        raise ValueError(f"--classes {', '.join(sorted(unknown))}: the model knows {', '.join(detector.classes)}")
    outputs = DetectionOutputs(detector, s, print)
    try:
        videos = [source for source in sources if source.path.suffix.lower() in video.SUFFIXES]
        outputs.photos([source for source in sources if source not in videos])
        outputs.videos(videos)
    finally:
        if s.csv:
            outputs.write_table(s.csv)
    result = {"classes": list(detector.classes), "images": outputs.rows, "unreadable": outputs.bad}
    return complete(result, outputs.bad, len(sources))
