"""The local page and its API, by a real server and in a browser."""

import base64
import contextlib
import io
import json
import logging
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from detection import SPPDetector, zoo
from detection.detections import Detections
from detection.image import read
from detection.model import load
from sppnet import progress
from sppnet.server import detector_queue, http
from tests import browser
from tools import serve

ROOT = Path(__file__).parents[2]
LIMITS = detector_queue.Limits(megabytes=1, megapixels=1)
DROP = """(zone, [bytes, name]) => {
  const data = Uint8Array.from(atob(bytes), c => c.charCodeAt(0));
  const dropped = new DataTransfer();
  dropped.items.add(new File([data], name));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    zone.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: dropped }));
  }
}"""


@contextlib.contextmanager
def site(desk, hosts=("127.0.0.1", "localhost")):
    """A client of a server that runs in a thread."""
    listener = serve.listen("127.0.0.1", 0)
    running = http.Server(desk, http.application(desk, hosts), "ready")
    thread = threading.Thread(target=running.run, args=([listener],))
    thread.start()
    try:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
            yield client
    finally:
        running.should_exit = True
        thread.join()


@pytest.fixture(autouse=True)
def no_log_of_an_earlier_tool():
    root = logging.getLogger()
    root.handlers = [h for h in root.handlers if not isinstance(h, progress.ToolHandler)]


@pytest.fixture(scope="module")
def name(finished, tmp_path_factory):
    """The model of the finished run, its scores pulled apart so that thresholds tell them from each other."""
    model, folder = load(finished / "model"), tmp_path_factory.mktemp("models") / "minivoc"
    svms = replace(model.svms, weights=model.svms.weights * 4, bias=model.svms.bias * 4 + 3.3)
    replace(model, svms=svms).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def desk(name, weights):
    with detector_queue.Desk(detector_queue.offers([name], weights), LIMITS, "cpu") as desk:
        desk.detector(name)
        yield desk


@pytest.fixture(scope="module")
def client(desk):
    with site(desk) as client:
        yield client


@pytest.fixture(scope="module")
def photo(devkit):
    return devkit / "VOC2007" / "JPEGImages" / "trainval_00005.jpg"


def ask(client, photo, **query):
    data = photo.read_bytes() if isinstance(photo, Path) else photo
    return client.post("/detect", files={"photo": ("photo.jpg", data)}, params=query)


def encoded(width, height, kind="png", **options):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, kind, **options)
    return buffer.getvalue()


def claiming(width, height):
    """A small file whose header tells of a large photo."""
    photo = encoded(9, 9)
    header = b"IHDR" + struct.pack(">II", width, height) + photo[24:29]  # behind the signature and a length
    return photo[:12] + header + struct.pack(">I", zlib.crc32(header)) + photo[33:]


# ---- the API


def test_what_is_answered_is_what_the_detector_finds(client, photo, name, weights):
    expected = SPPDetector.from_pretrained(name, device="cpu", weights=weights).detect(photo)
    for threshold in (-1.5, -0.9):
        told = ask(client, photo, score_threshold=threshold).json()
        assert told["model"] == name
        assert told["detections"] == expected.filter(threshold).records()
    assert (told["height"], told["width"]) == expected.draw().shape[:2]
    assert 0 < len(told["detections"]) < len(expected)
    stages = [told["seconds"][s] for s in ("wait", "decode", "load", "windows", "detect")]
    assert min(stages[3:]) > 0
    assert told["seconds"]["total"] == pytest.approx(sum(stages), abs=1e-3)
    assert ask(client, photo).json()["detections"] == expected.filter(-0.5).records()


def test_a_photo_is_turned_as_it_says(client):
    exif = Image.Exif()
    exif[0x0112] = 6
    told = ask(client, encoded(200, 100, "jpeg", exif=exif)).json()
    assert (told["width"], told["height"]) == (100, 200)


def test_models_and_limits_are_told(client, name):
    told = client.get("/models").json()
    assert told["default"] == name
    assert (told["max_megabytes"], told["max_megapixels"]) == (1, 1)
    assert [m["name"] for m in told["models"]] == [name, "lite0-voc2007", "lite0-pool5-voc2007", "lite2-voc2007"]
    mine, lite0 = told["models"][:2]
    assert (mine["network"], mine["map"], mine["seconds"], mine["loaded"]) == ("alexnet", None, None, True)
    assert (len(lite0["classes"]), round(lite0["map"], 3), lite0["loaded"]) == (20, 0.562, False)


def test_with_no_model_given_the_default_is_first_and_all_others_are_there():
    names = list(detector_queue.offers([]))
    assert names[0] == detector_queue.DEFAULT
    assert sorted(names) == zoo.names()


@pytest.mark.parametrize(
    ("photo", "status", "message"),
    [
        (b"", 422, "the photo is empty (0 bytes); send an image file"),
        (b"not a photo", 415, "the file is no photo of a known format (JPEG, "),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "the file is no photo of a known format"),
        (encoded(60, 60)[:-30], 422, "damaged or unsupported image (image file is truncated"),
        (encoded(60, 60, "jpeg")[:300], 422, "damaged"),
        (encoded(1001, 1000), 413, "the photo has 1001 x 1000 pixels, at most 1 megapixels are taken; resize it"),
        (
            claiming(10_000, 10_000),
            413,
            "the photo has 10000 x 10000 pixels, at most 1 megapixels are taken; resize it",
        ),
        (claiming(20_000, 20_000), 413, "Image size (400000000 pixels) exceeds limit"),
        (encoded(210, 10), 422, "the photo has 210 x 10 pixels, one side may be 20 times the other; crop it"),
    ],
)
def test_what_is_no_usable_photo_is_refused_in_a_sentence(photo, status, message, client):
    reply = ask(client, photo)
    assert reply.status_code == status
    assert reply.json()["detail"].startswith(message)
    assert "/" not in reply.json()["detail"]  # of no file of the server


def test_one_pixel_is_a_photo(client):
    told = ask(client, encoded(1, 1)).json()
    assert (told["width"], told["height"], told["detections"]) == (1, 1, [])


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"model": "nobody"}, 404, "model 'nobody': expected one of "),
        ({"score_threshold": "nan"}, 422, "score_threshold: Input should be a finite number"),
        ({"score_threshold": "much"}, 422, "score_threshold: Input should be a valid number"),
    ],
)
def test_what_cannot_be_meant_is_said(query, status, message, client, photo):
    reply = ask(client, photo, **query)
    assert (reply.status_code, reply.json()["detail"][: len(message)]) == (status, message)


def test_a_request_without_a_photo_is_refused(client):
    reply = client.post("/detect")
    assert (reply.status_code, reply.json()) == (422, {"detail": "photo: Field required"})
    reply = client.post("/detect", data={"photo": "name.jpg"})
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith("photo: ")
    assert client.get("/nowhere").json() == {"detail": "Not Found"}


@pytest.mark.parametrize("n", [1_000_001, 3_000_000])
def test_too_many_bytes_are_refused(n, client):
    told = {"detail": "the photo has more than 1 MB; resize it"}
    reply = ask(client, bytes(n))
    assert (reply.status_code, reply.json()) == (413, told)
    start = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n'
    parts = [start, *[bytes(100_000)] * (n // 100_000 + 1), b"\r\n--x--\r\n"]
    reply = client.post("/detect", content=iter(parts), headers={"content-type": "multipart/form-data; boundary=x"})
    assert (reply.status_code, reply.json()) == (413, told)


def test_who_still_sends_is_heard_out_before_the_answer(client):
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=0.3) as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n" + bytes(9))
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(10)
        connection.sendall(bytes(1_999_991))
        assert connection.recv(20).startswith(b"HTTP/1.1 413")


def test_a_body_without_end_is_cut_off(client, desk):
    start = b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        connection.sendall(start + b"Content-Length: 9000000\r\n\r\n")
        assert connection.recv(20).startswith(b"HTTP/1.1 413")  # before a byte of it is sent
    part = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n'
    chunk = b"%x\r\n%b\r\n" % (100_000, bytes(100_000))
    sent = 0
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        connection.sendall(start + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(part), part))
        with contextlib.suppress(OSError):
            for _ in range(2000):
                connection.sendall(chunk)
                sent += 1
    assert sent < 2000
    assert desk.waiting == 0


def test_a_detector_that_cannot_be_loaded_is_named_and_the_others_work(client, name, photo, tmp_path, weights):
    assert client.get("/health").json()["status"] == "ok"
    offers = detector_queue.offers([name], weights)
    offers["broken"] = detector_queue.Offer("broken", tmp_path, "pretrained", offers[name].card)
    with detector_queue.Desk(offers, LIMITS, "cpu") as desk, site(desk) as client:
        for _ in range(2):
            reply = ask(client, photo, model="broken")
            assert reply.status_code == 503
            assert reply.json()["detail"].startswith("broken cannot be used: ")
        assert "no such model" in reply.json()["detail"]
        assert ask(client, photo).status_code == 200


class Stub:
    """A detector that waits for a sign, and notes which photos it saw by their widths."""

    classes = ("<b>thing</b>",)

    def __init__(self):
        self.seen, self.begun, self.go_on = [], threading.Event(), threading.Event()

    def propose(self, photo):
        self.seen.append(photo.shape[1])
        self.begun.set()
        assert self.go_on.wait(20)
        return np.zeros((0, 4), np.float32)

    def detect(self, photo, windows):
        boxes, scores = [[0, 0, 20, 20], [5, 5, 30, 30]], [1.0, -0.75]
        return Detections(np.float32(boxes), np.float32(scores), np.zeros(2, int), self.classes)


@pytest.fixture
def stub(name, weights):
    """A desk whose default detector is a stub."""
    with detector_queue.Desk(detector_queue.offers([name], weights), LIMITS, "cpu") as desk:
        desk.loaded[name] = made = Stub()
        made.desk = desk
        yield made
        made.go_on.set()


def until(condition):
    """Wait until something is so."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def in_turn(stub, client, widths, answers):
    """Threads that ask, each after the one before has come into the queue."""
    threads = []
    for width in widths:
        before = stub.desk.waiting
        threads.append(threading.Thread(target=lambda w=width: answers.append(ask(client, encoded(w, 30)))))
        threads[-1].start()
        until(lambda n=before: stub.desk.waiting > n)
    return threads


def test_photos_are_served_in_order_while_the_page_answers(stub):
    answers = []
    with site(stub.desk) as client:
        threads = in_turn(stub, client, (31, 32, 33), answers)
        assert client.get("/health").json() == {"status": "ok", "waiting": 3, "served": 0}
        assert client.get("/").status_code == 200
        until(stub.begun.is_set)
        assert stub.seen == [31]
        stub.go_on.set()
        for thread in threads:
            thread.join()
        assert client.get("/health").json() == {"status": "ok", "waiting": 0, "served": 3}
    assert stub.seen == [31, 32, 33]
    waits = {a.json()["width"]: a.json()["seconds"]["wait"] for a in answers}
    assert waits[31] < min(waits[32], waits[33])


def test_a_client_that_leaves_before_its_turn_costs_no_detection(stub):
    answers = []
    with site(stub.desk) as client:
        threads = in_turn(stub, client, (31,), answers)
        until(stub.begun.is_set)
        with pytest.raises(httpx.ReadTimeout), httpx.Client(base_url=client.base_url, timeout=0.5) as impatient:
            ask(impatient, encoded(32, 30))
        until(lambda: stub.desk.waiting == 1)
        threads += in_turn(stub, client, (33,), answers)
        stub.go_on.set()
        for thread in threads:
            thread.join()
    assert stub.seen == [31, 33]
    assert [a.status_code for a in answers] == [200, 200]


def test_a_full_queue_says_so(stub, monkeypatch):
    monkeypatch.setattr(detector_queue, "MAX_WAITING", 2)
    with site(stub.desk) as client:
        threads = in_turn(stub, client, (31, 32), [])
        reply = ask(client, encoded(33, 30))
        assert (reply.status_code, reply.json()["detail"][:28]) == (503, "2 photos are waiting already")
        stub.go_on.set()
        for thread in threads:
            thread.join()


def test_when_the_server_stops_one_photo_is_finished_and_the_others_are_told(stub):
    answers = []
    with site(stub.desk) as client:
        threads = in_turn(stub, client, (31, 32), answers)
        until(stub.begun.is_set)
        stub.desk.dismiss()
        until(lambda: len(answers) == 1)
        assert (answers[0].status_code, answers[0].json()) == (503, {"detail": "the server is shutting down"})
        assert ask(client, encoded(33, 30)).status_code == 503
        stub.go_on.set()
        for thread in threads:
            thread.join()
    assert answers[1].status_code == 200
    assert stub.seen == [31]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("image of 9 x 9 pixels"), 422, "image of 9 x 9 pixels"),
        (MemoryError(), 500, "MemoryError"),
        (KeyError("secret"), 500, "something went wrong in the server; its terminal tells more"),
    ],
)
def test_a_failure_is_a_sentence_and_not_the_end(error, status, message, stub, monkeypatch, caplog):
    def fail(*_):
        raise error

    monkeypatch.setattr(stub, "propose", fail)
    with site(stub.desk) as client:
        for _ in range(2):
            reply = ask(client, encoded(40, 30))
            assert reply.status_code == status
            assert reply.json()["detail"].endswith(message)
    assert ("secret" in caplog.text) == isinstance(error, KeyError)


# ---- who may ask


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[", "localhost@evil"])
def test_a_foreign_name_for_this_machine_is_refused(host, client):
    for path in ("/", "/models", "/docs"):
        reply = client.get(path, headers={"host": host})
        assert reply.status_code == 403
        assert "expected 127.0.0.1 or localhost" in reply.json()["detail"]


def test_its_own_names_are_accepted_and_any_where_it_is_open_to_others(client, stub):
    for host in ("localhost", "LOCALHOST:1234", "127.0.0.1:99"):
        assert client.get("/health", headers={"host": host}).status_code == 200
    with site(stub.desk, hosts=()) as open_client:
        assert open_client.get("/health", headers={"host": "camera.example"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_sites_cannot_send_photos(headers, client, photo):
    reply = client.post("/detect", files={"photo": photo.read_bytes()}, headers=headers)
    assert (reply.status_code, reply.json()) == (403, {"detail": "asked by a page of another site"})
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_may_ask_this_server_only(path, client):
    reply = client.get(path)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("sha256-") == 2
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert [a for a in re.findall(r"https?://[^\s'\"]+", reply.text) if a != "http://www.w3.org/2000/svg"] == []


def test_the_api_describes_itself(client):
    told = client.get("/openapi.json").json()
    assert list(told["paths"]) == ["/detect", "/models", "/health"]
    post = told["paths"]["/detect"]["post"]
    assert set(post["responses"]) == {"200", "400", "403", "404", "413", "415", "422", "500", "503"}
    assert [p["name"] for p in post["parameters"]] == ["model", "score_threshold"]
    assert set(told["components"]["schemas"]["Detection"]["properties"]) == {"class", "label", "score", "box"}


# ---- the command


def test_a_taken_port_is_told_before_anything_is_loaded(capsys, monkeypatch):
    monkeypatch.setattr(detector_queue, "offers", None)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert serve.main(["--port", str(port)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"error: 127.0.0.1, port {port}: Address already in use; choose others with")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "nobody"], "nobody: neither a folder nor a bundled detector"),
        (["--model", "{empty}"], "model.json: no such model"),
        (["--model", "{damaged}"], "model.json: damaged"),
        (["--weights", "w.safetensors"], "--weights w.safetensors: of which model? give --model as well"),
        (["--host", "203.0.113.7"], "203.0.113.7, port 0: "),
        (["--port", "99999"], "127.0.0.1, port 99999: "),
    ],
)
def test_what_cannot_be_served_is_said_in_a_line(argv, message, tmp_path, capsys):
    folders = {name: tmp_path / name for name in ("empty", "damaged")}
    for folder in folders.values():
        folder.mkdir()
    (folders["damaged"] / "model.json").write_text("{}")
    assert serve.main(["--port", "0", *(a.format(**folders) for a in argv)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert message in said[0]


def test_what_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert serve.main(["--port", "0"]) == 1
    assert capsys.readouterr().err == "error: uvicorn is not installed; pip install 'sppnet[serve]' brings it\n"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(sign, name, weights, photo, tmp_path):
    report = tmp_path / "r.json"
    flags = ["--model", name, "--weights", str(weights), "--port", "0", "--device", "cpu", "--json", str(report)]
    command = [sys.executable, str(ROOT / "tools" / "serve.py"), *flags]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env=environment, cwd=tmp_path) as process:
        try:
            ready = process.stdout.readline()
            address = re.match(r"(http://127\.0\.0\.1:\d+/) is ready", ready)
            assert address, process.communicate(timeout=20)
            with httpx.Client(base_url=address[1], trust_env=False, timeout=30) as client:
                assert ask(client, photo).status_code == 200
                process.send_signal(sign)  # while a connection is open
                said, complaints = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, said) == (0, "stopped\n")
    assert len(complaints.splitlines()) == 1  # of the photo
    assert json.loads(report.read_text())["result"] == {"served": 1}


# ---- the page


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as running:
        yield running


def expect(locator):
    """Playwright's assertions, which wait until they hold."""
    from playwright.sync_api import expect

    return expect(locator)


def opened(chromium, client, **size):
    watched = browser.watch(chromium, **size)
    watched.page.goto(str(client.base_url))
    watched.page.wait_for_selector("#model option", state="attached")
    return watched


def drop(page, data, name="photo.jpg"):
    page.locator("#drop").evaluate(DROP, [base64.b64encode(data).decode(), name])


def slide(page, value):
    page.locator("#threshold").evaluate("(s, v) => { s.value = v; s.dispatchEvent(new Event('input')); }", value)


def painted(page):
    """The canvas as a file in text, to be told from others."""
    return page.evaluate("document.querySelector('#canvas').toDataURL()")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (375, True)])
def test_a_photo_dropped_on_the_page_is_boxed_listed_and_filtered(width, dark, chromium, client, photo, desk):
    watched = opened(chromium, client, width=width, dark=dark)
    page, served = watched.page, desk.served
    drop(page, photo.read_bytes())
    page.wait_for_selector("#found:not([hidden])")
    told = ask(client, photo, score_threshold=-1).json()["detections"]
    scores = sorted(d["score"] for d in told)
    pictures = []
    for threshold in (-1, -0.8, -0.5, scores[-1] + 0.1):
        slide(page, threshold)
        least = page.eval_on_selector("#threshold", "s => Number(s.value)")
        kept = [d for d in told if d["score"] >= least]
        assert page.locator("#detections tr").count() == len(kept)
        assert [t.strip() for t in page.locator("#detections th").all_inner_texts()] == [d["class"] for d in kept]
        assert json.loads(page.locator("#json").text_content())["detections"] == kept
        assert page.locator("#status").inner_text().startswith(f"{len(kept)} object")
        pictures.append((len(kept), painted(page)))
    assert len({n for n, _ in pictures}) == len({p for _, p in pictures}) > 1
    assert pictures[-1][0] == 0
    assert desk.served == served + 2  # the page's one request, and this test's
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#times dt").all_inner_texts()[-1] == "total"
    assert watched.errors == []
    asked = [r for r in watched.requests if not r.startswith("blob:")]
    assert {r.partition("?")[0] for r in asked} == {f"{client.base_url}{p}" for p in ("/", "/models", "/detect")}


def test_the_keyboard_alone_chooses_a_photo_and_a_row(chromium, client, photo):
    page = opened(chromium, client).page
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.set_input_files("#file", photo)
    page.wait_for_selector("#found:not([hidden])")
    slide(page, -1)
    plain = painted(page)
    page.locator("#detections tr").first.focus()
    first = painted(page)
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.rowIndex") == 2
    assert len({plain, first, painted(page)}) == 3  # the row's box stands out


def test_what_is_wrong_is_said_on_the_page_and_mended_by_the_next_photo(chromium, client, photo):
    page = opened(chromium, client).page
    drop(page, b"no photo", "<img src=x onerror=document.title='owned'>.jpg")
    page.wait_for_selector("#error:not([hidden])")
    said = page.locator("#error").inner_text()
    assert said.startswith("<img src=x onerror=document.title='owned'>.jpg: the file is no photo of a known format")
    drop(page, bytes(1_200_000), "large.jpg")
    expect(page.locator("#error")).to_contain_text("large.jpg has 1.2 MB, at most 1 MB are taken; resize it.")
    page.locator("#drop").evaluate(DROP.replace("dropped.items.add", "void"), ["", ""])
    assert page.locator("#error").inner_text() == "That was no file; drop a photo from a folder."
    drop(page, photo.read_bytes())
    page.wait_for_selector("#found:not([hidden])")
    assert page.locator("#error").is_hidden()
    assert "owned" not in page.title()


def test_names_of_classes_are_text_and_photos_no_browser_shows_get_their_boxes(chromium, stub):
    stub.go_on.set()
    with site(stub.desk) as client:
        watched = opened(chromium, client)
        drop(watched.page, encoded(60, 40, "tiff"), "scan.tif")
        watched.page.wait_for_selector("#found:not([hidden])")
        assert watched.page.locator("#detections th").inner_text() == "<b>thing</b>"
        assert watched.page.locator("#canvas").get_attribute("aria-label") == "scan.tif: 1 <b>thing</b>"
        assert watched.page.locator("#status").inner_text() == "1 object; 1 more with lower scores"
        edge = "document.querySelector('#canvas').getContext('2d').getImageData(42, 30, 1, 1).data.slice(0, 3).join()"
        assert watched.page.evaluate(edge) == "230,159,0"  # of a box up to x = 20, shown at twice its size
        assert watched.errors == []
        watched.page.goto("about:blank")


def test_another_model_is_asked_at_once_and_a_server_that_is_gone_is_told(chromium, stub):
    stub.go_on.set()
    other = stub.desk.loaded["lite2-voc2007"] = Stub()
    other.go_on.set()
    with site(stub.desk) as client:
        page = opened(chromium, client).page
        drop(page, encoded(60, 40))
        page.wait_for_selector("#found:not([hidden])")
        page.select_option("#model", "lite2-voc2007")
        expect(page.locator("#json")).to_contain_text("lite2-voc2007")
        assert (stub.seen, other.seen) == ([60], [60])
        card = json.loads((zoo.folder_of("lite2-voc2007") / "card.json").read_text())
        accuracy, speed = 100 * card["scores"]["regressed"]["voc07_map"], card["seconds_per_image"]
        told = f"lite2, {accuracy:.1f} mAP on VOC 2007, {speed:.2f} s a photo"
        assert page.locator("#card").inner_text() == told
    page.select_option("#model", "lite0-voc2007")
    page.wait_for_selector("#error:not([hidden])")
    assert page.locator("#error").inner_text() == "The server does not answer; is it still running?"


def test_json_is_copied_and_downloaded(chromium, client, photo, tmp_path):
    page = opened(chromium, client).page
    drop(page, photo.read_bytes(), "beach.photo.jpg")
    page.wait_for_selector("#found:not([hidden])")
    page.click("details:has(#json) summary")
    with page.expect_download() as waiting:
        page.click("#download")
    assert waiting.value.suggested_filename == "beach.photo.json"
    waiting.value.save_as(tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text())["width"] == read(photo).shape[1]
    page.click("#copy")
    expect(page.locator("#copy")).to_have_text(re.compile("Copied|Selected"))


def test_the_page_of_the_api_lists_it_without_a_request_elsewhere(chromium, client):
    watched = browser.watch(chromium, width=375)
    watched.page.goto(f"{client.base_url}/docs")
    watched.page.wait_for_selector("h2")
    titles = watched.page.locator("h2").all_inner_texts()
    assert titles[:4] == ["POST /detect", "GET /models", "GET /health", "Answer"]
    assert "score_threshold" in watched.page.locator("main").inner_text()
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 375
    assert watched.errors == []
    assert watched.requests == [f"{client.base_url}{path}" for path in ("/docs", "/openapi.json")]
