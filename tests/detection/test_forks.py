"""Detection in processes that were forked after a detection in their parent."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_forked_processes_detect():
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.detection.forked"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kinds = ("same", "threads_of_a_server", "new_loop", "loop_of_the_parent")
    assert json.loads(done.stdout) == dict.fromkeys(kinds, "")
