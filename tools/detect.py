"""Detect objects in photos and films: pictures with boxes, json, csv, cut-out objects.

sppnet-detect holiday/ --model lite2-voc2007 --save found/
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if not __package__:  # run as a file, perhaps from a clone that is not installed
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "tools"

from tools import common


def run(options: common.Options) -> dict[str, Any]:
    """What was found, photo by photo."""
    from data import media
    from detection import SPPDetector
    from detection.pictures import video
    from sppnet.detector.detection_outputs import Outputs

    sources = media.find(options.sources, media.PHOTOS | video.SUFFIXES)
    detector = SPPDetector.from_pretrained(
        options.model, device=options.device, weights=options.weights or "pretrained", scales=options.scales
    )
    unknown = set(options.classes or ()) - set(detector.classes)
    if unknown:
        raise ValueError(f"--classes {', '.join(sorted(unknown))}: the model knows {', '.join(detector.classes)}")
    outputs = Outputs(options, detector)
    try:
        films = [s for s in sources if s.path.suffix.lower() in video.SUFFIXES]
        outputs.photos([s for s in sources if s not in films])
        outputs.films(films)
    finally:
        outputs.write_table()
    result = {"classes": list(detector.classes), "images": outputs.rows, "unreadable": outputs.bad}
    return common.complete(result, outputs.bad, len(sources))


def flags() -> argparse.ArgumentParser:
    """What the command takes."""
    p = common.parser(
        (__doc__ or "").split("\n", 1)[0], common.detector_flags, common.compute_flags, common.scale_flags
    )
    p.add_argument("sources", nargs="+", metavar="PHOTO|FOLDER|PATTERN|FILM")
    p.add_argument("--score-threshold", type=float, default=-0.5, metavar="S", help="least SVM margin (%(default)s)")
    p.add_argument("--classes", nargs="+", metavar="NAME", help="only these")
    p.add_argument("--save", type=Path, metavar="DIR", help="photos and films with boxes drawn")
    p.add_argument("--csv", type=Path, metavar="FILE", help="a row a detection")
    p.add_argument("--crop", type=Path, metavar="DIR", help="objects cut out of photos, a folder a class")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command; see `common.main` for the exit codes."""
    return common.main(run, flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
