"""`sppnet serve --label-studio`: flags, secrets, signals, and what a whole session leaves behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from data import datasets
from sppnet.cli import main
from sppnet.labelling.login import Login
from sppnet.run import exclusive
from sppnet.settings.commands import ServeSettings
from tests.sppnet.labelling.helpers import UID
from tests.sppnet.server.helpers import until

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--run", "x"], "run: goes with label_studio"),
        (["--backbone", "alexnet"], "backbone: goes with label_studio"),
        (["--photo-hosts", "a"], "photo_hosts: goes with label_studio"),
        (["--label-studio", "--model", "a", "b"], "begins with one detector, got 2"),
        (["--label-studio", "--model", "a", "--scales", "480"], "scales: goes without model"),
        (["--label-studio", "--inference", "best"], "looks at each photo once"),
    ],
)
def test_flags_that_do_not_fit_are_refused(argv, message, capsys):
    assert main(["serve", "--port", "0", *argv]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "nobody"], "nobody: neither a folder nor a bundled detector"),
        (["--backbone", "nothing"], "nothing"),
        (["--label-studio-url", "localhost:8080"], "expected an address such as http://localhost:8080"),
    ],
)
def test_what_cannot_be_begun_with_is_an_error_in_one_line(argv, message, tmp_path, capsys):
    assert main(["serve", "--label-studio", "--port", "0", "--run", str(tmp_path), *argv]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_a_folder_serves_one_process(tmp_path, capsys):
    with exclusive(tmp_path / "run"):
        assert main(["serve", "--label-studio", "--port", "0", "--run", str(tmp_path / "run")]) == 1
    assert "another process is working on it" in capsys.readouterr().err


def test_user_and_password_come_from_the_environment():
    assert Login.of({}) is None
    assert Login.of({"SPPNET_USER": "a", "SPPNET_PASSWORD": "b"}) == Login("a", "b")
    with pytest.raises(ValueError, match="set both or neither"):
        Login.of({"SPPNET_USER": "a"})
    assert "SPPNET" not in str(ServeSettings.kinds())


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_session_and_what_was_labelled_stays(sign, weights, studio, tmp_path):
    flags = ["--label-studio", "--run", "run", "--backbone", "alexnet", "--scales", "160", "--weights", str(weights)]
    command = [sys.executable, str(ROOT / "tools" / "serve.py"), *flags, "--port", "0", "--device", "cpu"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "SPPNET_USER": "me", "SPPNET_PASSWORD": "pass"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env=environment, cwd=tmp_path) as process:
        try:
            ready = process.stdout.readline()
            address = re.match(r"(http://127\.0\.0\.1:\d+) is ready", ready)
            assert address, process.communicate(timeout=20)
            with httpx.Client(base_url=address[1], trust_env=False, timeout=30, auth=("me", "pass")) as client:
                assert httpx.get(f"{address[1]}/health", trust_env=False).status_code == 401
                assert client.post("/setup", json=studio.setup()).status_code == 200
                for number in (1, 2):
                    assert client.post("/webhook", json=studio.annotated(number)).status_code == 200
                until(lambda: client.get("/health").json()["waiting"] == 0)
                started = time.monotonic()
                process.send_signal(sign)  # while a connection is open
                output, log = process.communicate(timeout=60)
                assert time.monotonic() - started < 3
        finally:
            process.kill()
    assert (process.returncode, output) == (0, "stopped\n"), log
    folder = tmp_path / "run" / UID
    assert len(datasets.load(folder / "data", "all")) == 2
    for name in ("live/model.json", "live/training/checkpoint.npz", "proposals/ss/train.npz", "features/alexnet-160*"):
        assert list(folder.glob(name)), name  # where the processor has bfloat16, the name says so
    assert "Traceback" not in log


def test_a_signal_ends_an_idle_session(weights, tmp_path):
    flags = ["--label-studio", "--run", tmp_path / "run", "--backbone", "alexnet", "--weights", weights, "--port", "0"]
    command = [sys.executable, ROOT / "tools" / "serve.py", *flags, "--device", "cpu"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        try:
            ready = process.stdout.readline()
            assert " is ready" in ready, process.communicate(timeout=20)
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            output, log = process.communicate(timeout=60)
        finally:
            process.kill()
    assert time.monotonic() - started < 3
    assert (process.returncode, output) == (0, "stopped\n"), log
