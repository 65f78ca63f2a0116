"""A stand-in of Label Studio: it serves photos as the real one does, and makes the requests that it makes."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx

from sppnet.labelling.backend import Access, Backend
from sppnet.labelling.http import application
from sppnet.server import http, local
from sppnet.server.uploads import UploadLimits
from tests.sppnet.server.helpers import until

LIMITS = UploadLimits(megabytes=1, megapixels=1)
TOKEN = "0123456789abcdef"
PERSONAL, ACCESS = "header.payload.signature", "short-lived"
CREATED = "2025-01-02T03:04:05.678901Z"
UID = "7.1735787045"


def config_of(labels, name="label", image="image", value="$image"):
    """A labelling configuration with rectangles."""
    tags = "".join(f'<Label value="{label}" background="#ff0000"/>' for label in labels)
    return (
        f'<View><Header value="Label"/><Image name="{image}" value="{value}"/>'
        f'<RectangleLabels name="{name}" toName="{image}">{tags}</RectangleLabels></View>'
    )


def region(box, label, size, **changes):
    """A region of an annotation, from a box in 0-based inclusive pixels."""
    (x0, y0, x1, y1), (height, width) = box, size
    value = {
        "x": 100 * x0 / width, "y": 100 * y0 / height,
        "width": 100 * (x1 - x0 + 1) / width, "height": 100 * (y1 - y0 + 1) / height,
        "rotation": 0, "rectanglelabels": [label],
    }  # fmt: skip
    return {
        "id": "a1b2c3", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "origin": "manual",
        "original_width": width, "original_height": height, "image_rotation": 0, "value": value | changes,
    }  # fmt: skip


class StandIn:
    """Serves the photos of tasks 1, 2, ... to whoever has the token, and remembers who asked.

    Attributes:
        address: of the server.
        requests: (path, authorization) of each request.
        answers: path -> (status, headers, content), instead of a photo.
    """

    def __init__(self, records, classes):
        self.records, self.classes, self.config = records, classes, config_of(classes)
        self.tokens = {f"Token {TOKEN}", f"Bearer {ACCESS}"}
        self.requests, self.answers, self.annotation_count = [], {}, 0

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path):
        if path in self.answers:
            return self.answers[path]
        parts = urlsplit(path)
        name = (parse_qs(parts.query).get("d") or [parts.path])[0].rpartition("/")[2]
        found = next((r for r in self.records if f"{r.id}.jpg" == name), None)
        return (200, {}, found.path.read_bytes()) if found else (404, {}, b"{}")

    # ---- what it sends

    def setup(self, **changes):
        return {"project": UID, "schema": self.config, "hostname": self.address, "access_token": TOKEN,
                "extra_params": None} | changes  # fmt: skip

    def task(self, number, **data):
        data = data or {"image": f"/data/upload/7/{self.records[number - 1].id}.jpg"}
        return {"id": number, "data": data, "project": 7, "is_labeled": False, "annotations": [], "predictions": []}

    def predict(self, *numbers, tasks=None, **changes):
        given = [self.task(n) for n in numbers] if tasks is None else tasks
        params = {"login": None, "password": None, "context": None}
        return {"tasks": given, "project": UID, "label_config": self.config, "params": params} | changes

    def project(self):
        return {
            "id": 7,
            "title": "Scenes",
            "created_at": CREATED,
            "label_config": self.config,
            "model_version": "sppnet",
        }

    def regions(self, number):
        record = self.records[number - 1]
        labels = [self.classes[k] for k in record.labels]
        return [region(b, label, record.size) for b, label in zip(record.boxes.tolist(), labels, strict=True)]

    def annotated(self, number, result=None, annotation=None, action="ANNOTATION_CREATED", **changes):
        """The webhook of a submitted annotation; as drawn by its author unless a result is given."""
        self.annotation_count += 1
        found = {
            "id": annotation or 100 + self.annotation_count, "task": number, "project": 7, "was_cancelled": False,
            "result": self.regions(number) if result is None else result, "updated_at": CREATED,
        } | changes  # fmt: skip
        return {"action": action, "annotation": found, "task": self.task(number), "project": self.project()}


class _Handler(BaseHTTPRequestHandler):
    owner: StandIn

    def do_GET(self):
        authorization = self.headers.get("authorization", "")
        self.owner.requests.append((self.path, authorization))
        if authorization not in self.owner.tokens:
            self._send(401, {}, b'{"detail": "Authentication credentials were not provided."}')
        else:
            self._send(*self.owner.answer(self.path))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.owner.requests.append((self.path, json.dumps(body)))
        right = self.path == "/api/token/refresh/" and body == {"refresh": PERSONAL}
        self._send(*((200, {}, json.dumps({"access": ACCESS}).encode()) if right else (401, {}, b"{}")))

    def _send(self, status, headers, content):
        self.send_response(status)
        for name, value in {"content-length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content)

    def log_message(self, *_):
        pass


class Client(httpx.Client):
    """Makes Label Studio's requests to a backend.

    Attributes:
        backend: the backend.
    """

    backend: Backend

    def send_json(self, path, body, status=200):
        reply = self.post(path, json=body)
        assert reply.status_code == status, reply.text
        return reply.json()

    def learned(self):
        """Wait until all work is done, and return the only project."""
        until(lambda: not self.backend.worker.waiting)
        (project,) = self.backend.projects.values()
        return project

    def caught_up(self):
        """Wait until trainings from the beginning are done too, and return the only project."""
        until(lambda: not self.backend.worker.waiting and not any(p.behind for p in self.backend.projects.values()))
        return self.learned()


@contextlib.contextmanager
def backend_client(base, folder, access=None, login=None, quiet=3600.0, hosts=("127.0.0.1", "localhost")):
    """A client of a backend that runs in a thread; without a smaller `quiet` nothing is trained from the beginning."""
    listener = local.listen("127.0.0.1", 0)
    with Backend(base, folder, LIMITS, access or Access(), quiet) as backend:
        server = http.Server(backend, application(backend, hosts, login), lambda: None)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with Client(base_url=address, timeout=60, trust_env=False) as client:
                client.backend = backend
                yield client
        finally:
            server.should_exit = True
            thread.join()
