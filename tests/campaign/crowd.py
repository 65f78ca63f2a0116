"""The server among many clients, whose uploads are good, damaged, half sent or slow."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from detection import network
from detection.weights.state_dict import write_state
from tests.campaign.mutation import mutate
from tests.detection.conftest import trained

CLIENTS = 16
ENDS_WITHIN = 3.0  # seconds, after SIGTERM
GROWTH = 1.10  # of memory, after the first hundred uploads
REFUSALS = {400, 408, 413, 415, 422, 429, 503}
BOUNDARY = b"campaign"


def crowded(seed: int, uploads: int, ends_within: float = ENDS_WITHIN) -> list[str]:
    """Send uploads from 16 clients, a third of them good; return what went wrong."""
    with tempfile.TemporaryDirectory() as top:
        body = network.build("alexnet", weights=None)
        trained(body).save(Path(top) / "model")
        write_state(Path(top) / "weights.safetensors", body.state_dict())
        words = [sys.executable, "-m", "sppnet", "serve", "--model", f"{top}/model", "--port", "0"]
        server = subprocess.Popen(
            [*words, "--weights", f"{top}/weights.safetensors"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            return _crowd(server, seed, uploads, ends_within)
        finally:
            server.kill()
            server.wait()


def _crowd(server: subprocess.Popen[str], seed: int, uploads: int, ends_within: float) -> list[str]:
    port, log = _port(server), _Log(server)
    answers: Counter[str] = Counter()
    _send(port, seed, 96, answers)
    before = _memory(server.pid)
    _send(port, seed + 1, uploads, answers)
    after = _memory(server.pid)
    faults = [f"{count} answers {answer}" for answer, count in answers.items() if answer not in _fair()]
    if after > GROWTH * before:
        faults.append(f"memory grew from {before >> 20} to {after >> 20} MB")
    busy = [threading.Thread(target=_send_one, args=(port, Random(i), Counter()), daemon=True) for i in range(CLIENTS)]
    for thread in busy:
        thread.start()
    time.sleep(0.3)
    started = time.monotonic()
    server.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(20)
    if time.monotonic() - started > ends_within:
        faults.append(f"ended {time.monotonic() - started:.1f} s after SIGTERM")
    if "Traceback" in log.text:
        faults.append(f"a traceback in the log: {log.text[log.text.index('Traceback') :][-300:]}")
    print(f"server: {sum(answers.values())} uploads, {dict(answers)}, {before >> 20} -> {after >> 20} MB")
    return faults


def _fair() -> set[str]:
    return {"200", "closed", *map(str, REFUSALS)}


def _port(server: subprocess.Popen[str]) -> int:
    """Wait until the server says where it listens."""
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"http://[^:/]+:(\d+)", line):
            return int(found[1])
    raise RuntimeError("the server did not start")


class _Log:
    """What a server prints, read as it comes."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self.text, self._stream = "", server.stdout
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._stream or ():
            self.text += line


def _memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def _send(port: int, seed: int, uploads: int, answers: Counter[str]) -> None:
    """Share uploads among the clients."""

    def client(number: int) -> None:
        rng = Random(f"{seed} {number}")
        for _ in range(uploads // CLIENTS):
            _send_one(port, rng, answers)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _send_one(port: int, rng: Random, answers: Counter[str]) -> None:
    """Send one upload, good or bad, and count the answer."""
    kind, photo = rng.choice(("good", "damaged", "form", "chunk", "half", "slow", "damaged", "good")), _photo(rng)
    if kind == "damaged":
        photo = mutate(photo, ".jpg", rng)
    form = b"--%s\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a.jpg\"\r\n\r\n%s\r\n--%s--\r\n" % (
        BOUNDARY, photo, BOUNDARY,
    )  # fmt: skip
    if kind == "form":
        form = mutate(form, ".txt", rng) if rng.random() < 0.5 else rng.randbytes(500)
    try:
        answer = _raw(port, form, kind, rng) if kind in ("chunk", "half", "slow") else _post(port, form)
    except (OSError, http.client.HTTPException):
        answer = "closed"
    if kind == "good" and answer not in ("200", "429", "503"):
        answer = f"{answer} to a good photo"
    answers[answer] += 1


def _post(port: int, form: bytes) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
        connection.request("POST", "/detect", form, headers)
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    finally:
        connection.close()


def _raw(port: int, form: bytes, kind: str, rng: Random) -> str:
    """Send a request as no library would: half of it, a byte at a time, or in malformed chunks."""
    head = b"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=%s\r\n" % BOUNDARY
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:  # of a chunk that does not come to its end
        if kind == "chunk":
            line.sendall(
                head + b"Transfer-Encoding: chunked\r\n\r\n" + rng.choice((b"zz\r\n", b"-5\r\nabc", b"fffffffffff\r\n"))
            )
        else:
            line.sendall(head + b"Content-Length: %d\r\n\r\n" % len(form))
            line.sendall(form[: rng.randrange(len(form))])
            time.sleep(rng.uniform(0, 0.5) * (kind == "slow"))
            if kind == "half":
                return "closed"
        return line.recv(100).split(b" ")[1].decode() if kind == "chunk" else "closed"


def _photo(rng: Random) -> bytes:
    size, buffer = (rng.choice((120, 300, 500)), rng.choice((90, 240, 375)), 3), io.BytesIO()
    pixels = np.random.default_rng(rng.randrange(100)).integers(0, 255, size, np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
