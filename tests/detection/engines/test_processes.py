"""Worker processes: interrupts."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from detection.engines.processes import interrupts_held

ROOT = Path(__file__).parents[3]

WORKERS = f"""
import signal
import sys

sys.path.insert(0, {str(ROOT)!r})
from loky import ProcessPoolExecutor
from loky.backend import get_context
from detection.engines.processes import interrupts_held

with ProcessPoolExecutor(2, context=get_context("loky")) as pool:
    with interrupts_held():
        masks = [pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()) for _ in range(8)]
    assert all(signal.SIGINT in mask.result() for mask in masks)
assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""


@pytest.mark.slow
def test_workers_get_no_interrupt_from_their_first_moment_on():
    done = subprocess.run([sys.executable, "-c", WORKERS], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_workers_get_no_interrupt_while_they_start():
    code = (
        "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "print('started', flush=True); time.sleep(0.5); print('finished')"
    )
    with interrupts_held():
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=60)[0], process.returncode) == ("finished\n", 0)


KILLED_AT_ONCE = f"""
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path

sys.path.insert(0, {str(ROOT)!r})
from detection.engines.processes import Processes


def make(large):
    return lambda item: item + len(large)


def kill_the_first():
    children = Path(f"/proc/{{os.getpid()}}/task/{{threading.main_thread().native_id}}/children")
    while True:
        for pid in children.read_text().split():
            words = Path(f"/proc/{{pid}}/cmdline").read_bytes().split(b"\\0")
            if words[1:3] == [b"-m", b"loky.backend.popen_loky_posix"]:
                os.kill(int(pid), signal.SIGKILL)
                print("killed", flush=True)
                return


threading.Thread(target=kill_the_first, daemon=True).start()
results = Processes(1).map(partial(make, bytes(1 << 20)), range(3))
print(sorted(outcome.result() - (1 << 20) for _, outcome in results))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_a_worker_that_is_killed_while_it_starts_is_replaced():
    done = subprocess.run([sys.executable, "-c", KILLED_AT_ONCE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "killed\n[0, 1, 2]\n"), done.stderr
