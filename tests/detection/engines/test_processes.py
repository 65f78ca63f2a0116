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
