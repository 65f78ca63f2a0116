"""Folders that take a training to make: made once, in a process of their own, and copied."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from data import voc
from sppnet.labelling.base import Base
from sppnet.labelling.payloads import image_id
from sppnet.labelling.project import Project
from sppnet.server.uploads import UploadLimits
from sppnet.settings.commands import ServeSettings
from tests.campaign.kills import ROOT, Training
from tests.sppnet.labelling.helpers import config_of, region

UID = "7.1735787045"  # of the project
LIMITS = UploadLimits(megabytes=1, megapixels=1)
LABELLED = 3  # photos of the project

_FOLDER = tempfile.TemporaryDirectory(prefix="campaign-")  # removed when the process ends
TOP = _FOLDER.name


class AtOnce:
    """Does the work of a project in the caller's thread."""

    waiting = 0

    def submit(self, work):  # type: ignore[no-untyped-def]
        from concurrent.futures import Future

        done = Future()
        done.set_result(work())
        return done


@cache
def training() -> Training:
    """The data set and the weights of the run."""
    return Training(Path(TOP))


@cache
def run() -> Path:
    """The run of one `sppnet train`, with layers, probabilities, test and report."""
    folder = Path(TOP) / "run"
    training().finish(folder)
    return folder


@cache
def base() -> Base:
    """What the detector of the project begins with."""
    network = {"backbone": "alexnet", "scales": (160,), "weights": training().weights}
    return Base.load(ServeSettings(label_studio=True, device="cpu", **network))


@cache
def project() -> Path:
    """The folder of a labelling project with some labelled photos."""
    folder = Path(TOP) / UID
    words = ["-m", "tests.campaign.finished", *map(str, (training().data, training().weights, folder))]
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)
    return folder


def label(data: Path, weights: Path, folder: Path) -> None:
    """Label some photos in a new project."""
    network = {"backbone": "alexnet", "scales": (160,), "weights": weights}
    start = Base.load(ServeSettings(label_studio=True, device="cpu", **network))
    records = voc.load(data, split="trainval")
    made = Project(UID, folder, start, AtOnce(), LIMITS)
    made.set_up(config_of(records.classes))
    learner = made._ready()
    for number, record in enumerate(list(records)[:LABELLED], 1):
        url = f"/data/upload/{number}/{record.path.name}"
        objects = zip(record.boxes.tolist(), record.labels.tolist(), strict=True)
        regions = [region(box, records.classes[k], record.size) for box, k in objects]
        learner.prepare(image_id(number, url), record.path.read_bytes)
        made.book.annotate(number, url, 10 + number, regions)
        made._learn_later(number)
    caught = made.catchup()
    caught.run()
    made.adopt(caught)
    made.close()


if __name__ == "__main__":
    label(*map(Path, sys.argv[1:]))
