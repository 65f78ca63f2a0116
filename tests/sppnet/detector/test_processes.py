"""Fine-tuning by several processes that torchrun starts."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from detection.networks.fc_head import FcHead
from sppnet.detector.head_files import HEAD
from tests import commands

ROOT = Path(__file__).parents[3]
FLAGS = ["--schedule", "30:5e-3", "--validate-every", "10", "--block", "7", "--width", "32", "--box-loss", "1"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ONE_MACHINE = ["--standalone", "--nproc-per-node", "2"]


def flags(work, run):
    return ["--devkit", str(work.devkit), "--run", str(run), *FLAGS]


def two_processes(work, run, *more, machine=ONE_MACHINE):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, *machine, "--", "tools/finetune.py", *flags(work, run), *map(str, more)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def curve(run):
    return json.loads((run / "head" / "finetune.json").read_text())["curve"]


@pytest.mark.slow
def test_two_processes_train_the_layers_of_one(work, tmp_path):
    more = ["--subspace", "64"]
    one, two = work.run, shutil.copytree(work.run, tmp_path / "two")
    assert commands.finetune([*flags(work, one), *more]) == 0
    process = two_processes(work, two, *more)
    out, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors[-2000:]
    assert out.count("validation AP") == 1
    for mine, theirs in zip(curve(two), curve(one), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=0.05)  # in bfloat16, where the processor has it
    assert FcHead.load(two / "head" / HEAD).fc6.in_features == FcHead.load(one / "head" / HEAD).fc6.in_features


def children(pid):
    """The processes that torchrun has started."""
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_one_after_a_validation(process, run):
    while not (run / "head" / "finetune.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(children(process.pid)[-1], signal.SIGKILL)


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")


@pytest.mark.slow
@needs_proc
def test_after_one_process_was_killed_the_training_continues_to_the_same_layers(work, tmp_path):
    whole, killed, restarted = (work.run, *(shutil.copytree(work.run, tmp_path / name) for name in ("killed", "again")))
    process = two_processes(work, whole)
    process.communicate(timeout=200)
    assert process.returncode == 0
    process = two_processes(work, killed)
    kill_one_after_a_validation(process, killed)
    process.communicate(timeout=200)
    assert process.returncode != 0
    again = two_processes(work, killed)  # the same command
    _, errors = again.communicate(timeout=200)
    assert again.returncode == 0, errors[-2000:]
    assert "resuming at iteration" in errors
    process = two_processes(work, restarted, "--overwrite", machine=[*ONE_MACHINE, "--max-restarts", "1"])
    kill_one_after_a_validation(process, restarted)
    out, errors = process.communicate(timeout=200)  # torchrun starts them again
    assert process.returncode == 0, errors[-2000:]
    assert "resuming at iteration" in errors
    assert out.count("validation AP") == 1
    for run in (killed, restarted):
        assert (run / "head" / HEAD).read_bytes() == (whole / "head" / HEAD).read_bytes()


@pytest.mark.slow
@needs_proc
def test_a_training_continues_without_a_machine_that_goes(work, tmp_path):
    port = free_port()
    machine = ["--nnodes", "1:2", "--nproc-per-node", "1", "--max-restarts", "3", "--rdzv-backend", "c10d"]
    machine += ["--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", tmp_path.name]
    first = two_processes(work, work.run, machine=machine)
    wait_for_port(port)
    second = two_processes(work, work.run, machine=machine)
    while not (work.run / "head" / "finetune.pt").exists() and first.poll() is None:
        time.sleep(0.01)
    for pid in [second.pid, *children(second.pid)]:
        os.kill(pid, signal.SIGKILL)
    second.communicate()
    _, errors = first.communicate(timeout=230)
    assert first.returncode == 0, errors[-2000:]
    assert "resuming at iteration" in errors
    assert [point["iteration"] for point in curve(work.run)] == [10, 20, 30]


def free_port():
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        return taken.getsockname()[1]


def wait_for_port(port):
    while True:
        try:
            socket.create_connection(("localhost", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
