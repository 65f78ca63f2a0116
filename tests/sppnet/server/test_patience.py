"""Clients that never finish, break the protocol or wait too long, and a server that stops while it works."""

import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from sppnet.server import access, connection, http
from tests.sppnet.server.helpers import ask, encoded, in_turn, site, until

ROOT = Path(__file__).parents[3]
POST = b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
PART = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n'


@contextlib.contextmanager
def connected(client):
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as connection:
        yield connection


def rest(connection):
    """What the server sends until it closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_photo_that_is_not_answered_in_time_is_refused_and_the_server_goes_on(slow, monkeypatch, caplog):
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.6)
    answers = []
    with site(slow.queue) as client:
        for thread in in_turn(slow.queue, client, (31, 32), answers):
            thread.join()
        details = {reply.json()["detail"] for reply in answers}
        assert {reply.status_code for reply in answers} == {503}
        assert details == {
            "the detection takes more than 0.6 s; send a smaller photo, or try again later",
            "the photo was not its turn within 0.6 s; try again later",
        }
        assert client.get("/health").json()["waiting"] == 1
        slow.detector.go_on.set()
        until(lambda: not slow.queue.waiting)
        assert ask(client, encoded(33, 30)).status_code == 200
    assert slow.detector.seen == [31, 33]
    assert warnings(caplog) == []


@pytest.mark.parametrize("begun", [b"", b"GET / HT", GET + b"Accept: a"])
def test_a_request_that_does_not_begin_in_time_is_closed(begun, slow, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    with site(slow.queue) as client, connected(client) as socket:
        socket.sendall(begun)
        assert rest(socket) == b""


def test_a_request_that_begins_byte_by_byte_is_closed(slow, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    sent = 0
    with site(slow.queue) as client, connected(client) as socket, contextlib.suppress(OSError):
        for byte in GET + b"A: " + bytes([97]) * 100:
            socket.sendall(bytes([byte]))
            sent += 1
            time.sleep(0.05)
    assert 1 < sent < 60


def test_a_connection_that_asks_in_time_stays_open(slow, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    with site(slow.queue) as client, connected(client) as socket:
        for _ in range(4):
            socket.sendall(GET[:9])
            time.sleep(0.2)
            socket.sendall(GET[9:] + b"\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += socket.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
        socket.sendall(GET)
        assert rest(socket) == b""


@pytest.mark.parametrize(
    "length", [b"Content-Length: 9000\r\n\r\n" + PART, CHUNKED + b"%x\r\n%b\r\n" % (len(PART), PART)]
)
def test_a_body_that_does_not_arrive_in_time_is_refused(length, slow, monkeypatch, caplog):
    monkeypatch.setattr(access, "BODY_SECONDS", 0.5)
    with site(slow.queue) as client, connected(client) as socket:
        socket.sendall(POST + length)
        answer = rest(socket)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert answer.endswith(b'{"detail":"the request did not arrive within 0.5 s"}')
    assert warnings(caplog) == []


def test_a_detection_may_take_longer_than_a_body(slow, monkeypatch):
    monkeypatch.setattr(access, "BODY_SECONDS", 0.3)
    answers = []
    with site(slow.queue) as client:
        (thread,) = in_turn(slow.queue, client, (31,), answers)
        time.sleep(0.6)
        slow.detector.go_on.set()
        thread.join()
    assert answers[0].status_code == 200


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([POST + CHUNKED + b"zz\r\n"], 400),
        ([POST + CHUNKED, b"%x\r\n%b\r\n" % (len(PART), PART), b"zz\r\n"], 400),
        ([b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED, b"zz\r\n"], 404),
        ([b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED + b"zz\r\n"], 400),
        ([GET + CHUNKED, b"zz\r\n"], 200),
        ([GET + CHUNKED + b"zz\r\n"], 400),
        ([b"GET / HTTP/1.1\r\nHost: evil\r\n" + CHUNKED, b"zz\r\n"], 403),
        ([POST + b"Content-Length: 9000000\r\n\r\n", b"x" * 9, b"\0"], 413),
        ([b"\x16\x03\x01\x02\0\x01\0"], 400),
    ],
)
def test_a_client_that_breaks_the_protocol_leaves_nothing_in_the_log(parts, status, slow, caplog):
    with site(slow.queue) as client:
        with connected(client) as socket, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                socket.sendall(part)
                time.sleep(0.1)
            assert rest(socket).startswith(b"HTTP/1.1 %d " % status)
        assert client.get("/health").status_code == 200
    assert warnings(caplog) == []


SERVER = f"""
import sys, time

sys.path.insert(0, {str(ROOT)!r})
from detection.detector import SPPDetector
from sppnet.cli import main

detect = SPPDetector.propose

def slowly(self, photo):
    if photo.shape[1] == 31:
        print("at work", flush=True)
        time.sleep(60)
    return detect(self, photo)

SPPDetector.propose = slowly
sys.exit(main(sys.argv[1:]))
"""


@contextlib.contextmanager
def serving(*flags):
    """A server in a process of its own, whose detections in photos 31 pixels wide take a minute; and a client of it."""
    command = [sys.executable, "-c", SERVER, "serve", "--port", "0", "--device", "cpu", *map(str, flags)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        try:
            address = re.match(r"(http://127\.0\.0\.1:\d+/) is ready", process.stdout.readline())
            assert address, process.communicate(timeout=20)
            with httpx.Client(base_url=address[1], trust_env=False, timeout=30) as client:
                yield process, client
        finally:
            process.kill()


def ended(process, sign):
    """Seconds in which a signal ended a process, its exit code, what it printed, and its log."""
    started = time.monotonic()
    process.send_signal(sign)
    output, log = process.communicate(timeout=30)
    return time.monotonic() - started, process.returncode, output, log


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("clients", [0, 1])
def test_a_signal_ends_an_idle_server(sign, clients, name, weights):
    with serving("--model", name, "--weights", weights) as (process, client):
        for _ in range(clients):
            assert client.get("/health").status_code == 200  # its connection stays open
        seconds, *said = ended(process, sign)
    assert said == [0, "stopped\n", ""]
    assert seconds < 3


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_server_at_work(sign, name, weights, tmp_path):
    answers = []
    with serving("--model", name, "--weights", weights, "--json", tmp_path / "r.json") as (process, client):
        threads = [threading.Thread(target=lambda w=w: answers.append(ask(client, encoded(w, 30)))) for w in (31, 32)]
        threads[0].start()
        assert process.stdout.readline() == "at work\n"
        threads[1].start()
        until(lambda: client.get("/health").json()["waiting"] == 2)
        with connected(client) as half_sent:
            half_sent.sendall(POST + b"Content-Length: 9000\r\n\r\n" + PART)
            seconds, *said = ended(process, sign)
        for thread in threads:
            thread.join()
    assert said == [0, "stopped\n", ""]
    assert seconds < 3
    assert [(a.status_code, a.json()["detail"]) for a in answers] == [(503, "the server is shutting down")] * 2
    assert json.loads((tmp_path / "r.json").read_text())["result"] == {"served": 0}


def test_a_signal_ends_a_server_whose_client_has_left_its_photo_at_work(name, weights):
    with serving("--model", name, "--weights", weights) as (process, client):
        with pytest.raises(httpx.ReadTimeout), httpx.Client(base_url=client.base_url, timeout=0.5) as impatient:
            ask(impatient, encoded(31, 30))
        seconds, *said = ended(process, signal.SIGTERM)
    assert said == [0, "at work\nstopped\n", ""]
    assert seconds < 3


LOADING = f"""
import sys, time

sys.path.insert(0, {str(ROOT)!r})
from detection.detector import SPPDetector
from sppnet.cli import main

SPPDetector.from_pretrained = lambda *_, **__: print("loading", flush=True) or time.sleep(60)
sys.exit(main(["serve", "--port", "0"]))
"""


def test_a_signal_ends_a_server_that_loads_its_detector():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", LOADING], **pipes) as process:
        try:
            assert process.stdout.readline() == "loading\n"
            seconds, *said = ended(process, signal.SIGTERM)
        finally:
            process.kill()
    assert said == [0, "stopped\n", ""]
    assert seconds < 3
