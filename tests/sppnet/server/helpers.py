"""A real server in a thread, photos to send, and a detector that waits."""

import contextlib
import io
import struct
import threading
import time
import zlib
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from detection.detections import Detections
from sppnet.server import http, local
from sppnet.server.uploads import UploadLimits

LIMITS = UploadLimits(megabytes=1, megapixels=1)


@contextlib.contextmanager
def site(queue, hosts=("127.0.0.1", "localhost")):
    """A client of a server that runs in a thread."""
    listener = local.listen("127.0.0.1", 0)
    running = http.Server(queue, http.application(queue, hosts), lambda: None)
    thread = threading.Thread(target=running.run, args=([listener],))
    thread.start()
    try:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
            yield client
    finally:
        running.should_exit = True
        thread.join()


def ask(client, photo, **query):
    """The answer of POST /detect."""
    data = photo.read_bytes() if isinstance(photo, Path) else photo
    return client.post("/detect", files={"photo": ("photo.jpg", data)}, params=query)


def encoded(width, height, kind="png", **options):
    """A red image file."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, kind, **options)
    return buffer.getvalue()


def claiming(width, height):
    """A small file with the header of a large image."""
    photo = encoded(9, 9)
    header = b"IHDR" + struct.pack(">II", width, height) + photo[24:29]  # after the signature and a length
    return photo[:12] + header + struct.pack(">I", zlib.crc32(header)) + photo[33:]


class WaitingDetector:
    """A detector that waits until `go_on` is set, and records the widths of the photos it gets."""

    classes = ("<b>thing</b>",)

    def __init__(self, calibration=None):
        self.calibration = calibration
        self.seen, self.begun, self.go_on = [], threading.Event(), threading.Event()

    def propose(self, photo):
        self.seen.append(photo.shape[1])
        self.begun.set()
        assert self.go_on.wait(20)
        return np.zeros((0, 4), np.float32)

    def detect(self, photo, proposals):
        boxes, scores = [[0, 0, 20, 20], [5, 5, 30, 30]], [1.0, -0.75]
        return Detections(
            np.float32(boxes), np.float32(scores), np.zeros(2, int), self.classes, calibration=self.calibration
        )


class OneOfEach(WaitingDetector):
    """A detector that finds one object of each class in every photo, at once."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes
        self.go_on.set()

    def detect(self, photo, proposals):
        count = len(self.classes)
        boxes = np.tile(np.float32([5, 5, 40, 40]), (count, 1))
        return Detections(boxes, np.linspace(1, 0.5, count, dtype=np.float32), np.arange(count), self.classes)


def until(condition):
    """Wait until a condition holds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def in_turn(queue, client, widths, answers):
    """Threads that send photos of these widths, each when the one before is in the queue."""
    threads = []
    for width in widths:
        before = queue.waiting
        threads.append(threading.Thread(target=lambda w=width: answers.append(ask(client, encoded(w, 30)))))
        threads[-1].start()
        until(lambda n=before: queue.waiting > n)
    return threads
