"""SIGTERM and Ctrl-C: exit codes, one line, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sppnet.cli import main
from sppnet.cli.early_signals import ending_at_once
from sppnet.run import exclusive

ROOT = Path(__file__).parents[3]


def run(argv):
    return main([str(a) for a in argv])


@pytest.mark.parametrize(
    ("sign", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_each_signal_has_its_exit_code_and_says_how_to_continue(sign, code, word, work, weights, monkeypatch, capsys):
    def signalled(*_args, **_kwargs):
        os.kill(os.getpid(), sign)
        time.sleep(10)  # the handler runs before this ends

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("detection.detector.SPPDetector.from_pretrained", signalled)
    photo = next(work.devkit.rglob("*.jpg"))
    assert run(["detect", photo, "--model", work.run / "model", "--weights", weights]) == code
    assert capsys.readouterr().err == f"{word}\n"
    monkeypatch.setattr("sppnet.detector.testing.TestedModel.load", signalled)
    assert run(["stage", "test-net", *work.data]) == code
    assert capsys.readouterr().err.splitlines()[-1] == f"{word}; the same command, without --overwrite, continues"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_during_an_import_ends_the_process_at_once(sign, code, tmp_path):
    lines = f"import os, signal, time\nos.kill(os.getpid(), {int(sign)})\ntime.sleep(10)\nprint('imported')\n"
    (tmp_path / "slow_module.py").write_text(lines)
    script = f"""
import sys

sys.path[:0] = [{str(ROOT)!r}, {str(tmp_path)!r}]
from sppnet.cli import main
from sppnet.cli.commands import env

def run(settings):
    try:
        import slow_module
    except BaseException:  # as torch's own code, which aborts
        print("raised")

env.run = run
sys.exit(main(["env"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == f"{'terminated' if code == 143 else 'interrupted'}\n"


@pytest.mark.parametrize(("sign", "code", "word"), [("SIGTERM", 143, "terminated"), ("SIGINT", 130, "interrupted")])
@pytest.mark.parametrize("module", ["sppnet.cli.execution", "sppnet.cli.commands.env"])
def test_a_signal_before_a_command_has_begun_ends_it_with_one_word(sign, code, word, module):
    script = f"""
import os, signal, sys, time

sys.path.insert(0, {str(ROOT)!r})

class Signalled:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{sign})
            time.sleep(10)

sys.meta_path.insert(0, Signalled())
from sppnet.cli import main

sys.exit(main(["env"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"{word}\n")


def test_signals_that_are_handled_by_others_before_a_command_has_begun_stay_theirs(monkeypatch, capsys):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("theirs"))
    try:
        with ending_at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        assert seen == ["theirs"]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signal.getsignal(signal.SIGTERM) is before


def session(leader):
    """The processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        found += [int(path.parent.name)] * (int(session) == leader and state != "Z")
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("whole_group", [False, True])
def test_sigterm_ends_the_workers_too_and_the_same_command_continues(whole_group, devkit, tmp_path):
    folders = {name: tmp_path / name for name in ("ended", "straight")}
    argv = ["stage", "extract-proposals", "--devkit", str(devkit), "--quiet", "-j"]
    command = [sys.executable, "-m", "sppnet", *argv, "2", "--run", str(folders["ended"])]
    output = folders["ended"] / "proposals" / "ss" / "trainval.npz"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **pipes, cwd=ROOT, start_new_session=True)
    while not list(output.parent.glob("*.parts/*.npy")) and process.poll() is None:
        time.sleep(0.01)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (143, "terminated; the same command, without --overwrite, continues\n")
    deadline = time.monotonic() + 10
    while session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not session(process.pid)
    assert not output.exists()
    with exclusive(output):  # the lock is released
        pass
    for folder in folders.values():
        assert run([*argv, "1", "--run", folder]) == 0
    assert output.read_bytes() == (folders["straight"] / output.relative_to(folders["ended"])).read_bytes()
