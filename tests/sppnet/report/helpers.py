"""What several tests of the report need."""

import re

from detection.detection_table import load_npz, save_npz
from sppnet.cli import main

STAGES = ("windows", "regressed")


def report(*argv):
    """The exit code of `sppnet report`."""
    return main(["report", *map(str, argv)])


def text(path):
    """The visible text of a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"(?s)<(style|script)>.*?</\1>", " ", path.read_text())).split())


def replace_detections(work, change):
    """Replace the detections of every stage by `change(detections)`."""
    for stage in STAGES:
        path = work.run / "detections" / f"test-{stage}.npz"
        save_npz(path, change(dict(load_npz(path)[0])))
