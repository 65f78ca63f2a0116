import logging
from dataclasses import dataclass, replace

import pytest

from detection.model import load
from sppnet.cli.console import ConsoleHandler
from sppnet.server.detector_queue import DetectorQueue
from sppnet.server.offered_detectors import offered_detectors
from tests import browser
from tests.sppnet.server.helpers import LIMITS, WaitingDetector, site


@pytest.fixture(autouse=True)
def no_log_handler_of_an_earlier_command():
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if not isinstance(h, ConsoleHandler)]


@pytest.fixture(scope="module")
def name(finished, tmp_path_factory):
    """The model of the finished run, with scores spread out so that thresholds separate them."""
    model, folder = load(finished / "model"), tmp_path_factory.mktemp("models") / "minivoc"
    svms = replace(model.svms, weights=model.svms.weights * 4, bias=model.svms.bias * 4 + 3.3)
    replace(model, svms=svms).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def queue(name, weights):
    with DetectorQueue(offered_detectors([name], weights), LIMITS, "cpu") as queue:
        queue.detector(name)
        yield queue


@pytest.fixture(scope="module")
def client(queue):
    with site(queue) as client:
        yield client


@pytest.fixture(scope="module")
def photo(devkit):
    return devkit / "VOC2007" / "JPEGImages" / "trainval_00005.jpg"


@dataclass
class SlowServer:
    """A queue and its default detector, which waits."""

    queue: DetectorQueue
    detector: WaitingDetector


@pytest.fixture
def slow(name, weights):
    """A queue whose default detector waits."""
    with DetectorQueue(offered_detectors([name], weights), LIMITS, "cpu") as queue:
        queue.loaded[name] = detector = WaitingDetector()
        yield SlowServer(queue, detector)
        detector.go_on.set()


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as running:
        yield running
