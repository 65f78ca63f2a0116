"""`sppnet serve`: addresses, models, missing packages, signals."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from sppnet.cli import main
from sppnet.server import offered_detectors
from sppnet.server.offered_detectors import OfferedDetector
from tests.sppnet.server.helpers import ask

ROOT = Path(__file__).parents[3]


def test_a_taken_port_is_reported_before_anything_is_loaded(capsys, monkeypatch):
    monkeypatch.setattr(offered_detectors, "offered_detectors", None)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"error: 127.0.0.1, port {port}: Address already in use; choose others with")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "nobody"], "nobody: neither a folder nor a bundled detector"),
        (["--model", "{empty}"], "model.json: no such model"),
        (["--model", "{damaged}"], "damaged: damaged model (model.json: format: expected one of 2, 3, 4, but"),
        (["--weights", "w.safetensors"], "--weights w.safetensors: for which model? give --model as well"),
        (["--host", "203.0.113.7"], "203.0.113.7, port 0: "),
        (["--port", "99999"], "127.0.0.1, port 99999: "),
    ],
)
def test_what_cannot_be_served_is_an_error_in_one_line(argv, message, tmp_path, capsys):
    folders = {name: tmp_path / name for name in ("empty", "damaged")}
    for folder in folders.values():
        folder.mkdir()
    (folders["damaged"] / "model.json").write_text("{}")
    assert main(["serve", "--port", "0", *(a.format(**folders) for a in argv)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_a_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "--port", "0"]) == 1
    assert capsys.readouterr().err == "error: uvicorn is not installed; run: pip install 'sppnet[serve]'\n"


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
                output, log = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, output) == (0, "stopped\n")
    assert len(log.splitlines()) == 1  # of the photo
    assert json.loads(report.read_text())["result"] == {"served": 1}


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ([], "expected names with values"),
        ({"scores": 5}, "scores: expected names with values or null, got 5"),
        ({"scores": {"regressed": [1]}}, r"scores.regressed: expected names with values or null"),
        ({"scores": {"regressed": {"voc07_map": "x"}}}, "scores.regressed.voc07_map: expected a number from 0 to 1"),
        ({"seconds_per_image": float("nan")}, "seconds_per_image: expected a number from 0 .* got nan"),
    ],
)
def test_a_card_of_another_kind_is_refused_by_name(name, tmp_path, card, message):
    shutil.copytree(name, tmp_path / "m")
    for values, expected in (({"seconds_per_image": 0.2}, 0.2), ({"more": [1], "scores": None}, None)):
        (tmp_path / "m" / "card.json").write_text(json.dumps(values))
        found = OfferedDetector.of(str(tmp_path / "m")).description
        assert (found["seconds"], found["map"]) == (expected, None)
    (tmp_path / "m" / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=rf"m/card\.json: damaged \({message}"):
        OfferedDetector.of(str(tmp_path / "m"))
