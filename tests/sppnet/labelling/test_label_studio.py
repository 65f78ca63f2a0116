"""The real Label Studio, from an environment of its own (make .venv-label-studio/ready), learns with us."""

import os
import socket
import subprocess
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from data import minivoc, voc
from detection.boxes import iou
from detection.weights import pretrained
from sppnet.labelling.base import Base
from sppnet.settings.commands import ServeSettings
from tests.sppnet.labelling.helpers import backend_client, config_of, region
from tests.sppnet.server.helpers import until

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / ".venv-label-studio" / "bin" / "label-studio"
TOKEN, USER, PASSWORD = "0123456789abcdef0123", "labeller@example.com", "not-a-secret-1"
SECONDS_TO_START = 400  # it creates its database first
OURS = {  # it talks to a backend on this machine, and to nobody else
    "ML_BLOCK_LOCAL_IP": "false",
    "SSRF_PROTECTION_ENABLED": "false",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "LATEST_VERSION_CHECK": "false",
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
}


class Studio(httpx.Client):
    """The API of a Label Studio."""

    def ask(self, method, path, **more):
        reply = self.request(method, path, **more)
        assert reply.status_code < 300, reply.text
        return reply.json() if reply.content else None

    def tasks(self, project):
        query = {"project": project, "page_size": 100, "fields": "all"}
        return sorted(self.ask("GET", "/api/tasks/", params=query)["tasks"], key=lambda task: task["id"])


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    if not PROGRAM.is_file():
        pytest.skip("no Label Studio; run make .venv-label-studio/ready")
    folder = tmp_path_factory.mktemp("label-studio")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = ["--no-browser", "--internal-host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder)]
    flags += ["--username", USER, "--password", PASSWORD, "--user-token", TOKEN]
    environment = {**os.environ, **OURS, "HOME": str(folder), "LABEL_STUDIO_BASE_DATA_DIR": str(folder)}
    environment.pop("PYTHONPATH", None)
    with (folder / "log").open("wb") as log:
        command = [str(PROGRAM), "start", *flags]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
        try:
            headers = {"Authorization": f"Token {TOKEN}"}
            address = f"http://127.0.0.1:{port}"
            with Studio(base_url=address, headers=headers, timeout=120, trust_env=False) as client:
                wait_for(client, process, folder / "log")
                yield client
        finally:
            process.terminate()
            process.wait(30)


def wait_for(client, process, log):
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return voc.load(minivoc.generate(tmp_path_factory.mktemp("data") / "m", train=30, test=1, seed=3), split="trainval")


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    if not pretrained.path_of("lite0").is_file():
        pytest.skip("weights lite0 have not been fetched")
    base = Base.load(ServeSettings(label_studio=True, scales=(480,), device="cpu"))
    with backend_client(base, tmp_path_factory.mktemp("run"), quiet=1.0) as client:
        yield client


def regions(record, classes):
    labels = [classes[k] for k in record.labels]
    return [region(b, label, record.size) for b, label in zip(record.boxes.tolist(), labels, strict=True)]


def overlap(studio, project, photos, tasks):
    """Mean IoU of the objects of tasks with the best box of their class in the newest prediction."""
    selected = {"all": False, "included": [task["id"] for task in tasks]}
    query = {"id": "retrieve_tasks_predictions", "project": project}
    studio.ask("POST", "/api/dm/actions", params=query, json={"selectedItems": selected})
    best = []
    for task in tasks:
        record = photos[int(task["data"]["image"][-9:-4])]
        found = max(studio.ask("GET", f"/api/tasks/{task['id']}")["predictions"], key=lambda p: p["id"], default=None)
        shown = [(r["value"], r["value"]["rectanglelabels"]) for r in (found or {}).get("result", [])]
        for box, label in zip(record.boxes, record.labels, strict=True):
            same = [in_pixels(value, record.size) for value, names in shown if names == [photos.classes[label]]]
            best.append(iou([box], same).max(initial=0) if same else 0)
    return float(np.mean(best))


def in_pixels(value, size):
    x, y, w, h = (value[name] / 100 for name in ("x", "y", "width", "height"))
    return [x * size[1], y * size[0], (x + w) * size[1] - 1, (y + h) * size[0] - 1]


@pytest.mark.slow
def test_predictions_improve_while_photos_are_labelled(studio, backend, photos):
    config = config_of(photos.classes)
    project = studio.ask("POST", "/api/projects/", json={"title": "Scenes", "label_config": config})["id"]
    files = [(f"file{i}", (r.path.name, r.path.read_bytes(), "image/jpeg")) for i, r in enumerate(photos)]
    studio.ask("POST", f"/api/projects/{project}/import", files=files)
    connection = {"project": project, "url": str(backend.base_url), "title": "sppnet"}
    assert studio.ask("POST", "/api/ml/", json=connection)["readable_state"] == "Connected"
    tasks = studio.tasks(project)
    rest, overlaps, annotations = tasks[10:], [], []
    for number, task in enumerate(tasks[:10], 1):
        record = photos[int(task["data"]["image"][-9:-4])]
        body = {"result": regions(record, photos.classes)}
        annotations.append(studio.ask("POST", f"/api/tasks/{task['id']}/annotations/", json=body)["id"])
        following = studio.ask("GET", f"/api/projects/{project}/next")
        (prediction,) = following["predictions"]
        assert prediction["model_version"].startswith(f"{number}-photos-")
        if number in (1, 10):
            backend.caught_up()
            overlaps.append(overlap(studio, project, photos, rest))
    assert overlaps[1] > 0.12
    assert overlaps[1] > 3 * overlaps[0]

    learner = backend.learned()._learner
    assert len(learner.labelled.ids) == 10
    studio.ask("DELETE", f"/api/annotations/{annotations[0]}/")
    until(lambda: len(learner.labelled.ids) == 9)
    (connected,) = studio.ask("GET", "/api/ml/", params={"project": project})
    assert connected["readable_state"] == "Connected"
    studio.ask("POST", f"/api/ml/{connected['id']}/train", json={})
    assert studio.ask("GET", f"/api/ml/{connected['id']}/versions")["versions"] == [backend.learned().version]
