"""Ray with two nodes on this machine: one of them dies; and the program that gave the work dies."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NODE_DIES = f"""
import collections
import time
import sys

sys.path.insert(0, {str(ROOT)!r})
import ray
from ray.cluster_utils import Cluster

from detection.engines.ray_cluster import RayCluster

checks = {{"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}}
cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 1, "_system_config": checks}})
second = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False)
RUNS = sys.argv[1]


def make():
    node = ray.get_runtime_context().get_node_id()

    def work(item):
        with open(f"{{RUNS}}/{{item}}", "a") as file:
            file.write(node + "\\n")
        time.sleep(0.1)
        return item, node

    return work


found = {{}}
for item, outcome in RayCluster().map(make, range(80)):
    found[item] = outcome.result()
    nodes = collections.Counter(node for _, node in found.values())
    if second is not None and len(nodes) == 2:
        cluster.remove_node(second, allow_graceful=False)
        second = None
assert [found[i][0] for i in range(80)] == list(range(80))
assert second is None and len(nodes) == 2, nodes
ray.shutdown()
cluster.shutdown()
print("done")
"""


@pytest.mark.slow
def test_a_node_that_dies_loses_nothing(ray_turn, tmp_path):
    done = subprocess.run([sys.executable, "-c", NODE_DIES, tmp_path], capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), done.stderr[-2000:]
    times = [len((tmp_path / str(i)).read_text().splitlines()) for i in range(80)]
    assert sum(times) <= 80 + 4  # what the node had in hand is done again, nothing else


DRIVER = f"""
import sys
import time

sys.path.insert(0, {str(ROOT)!r})
from detection.engines.ray_cluster import RayCluster


def make():
    def work(item):
        time.sleep(0.2)
        return item

    return work


for item, outcome in RayCluster(workers=2).map(make, range(10_000)):
    print(item, flush=True)
"""


def ray_processes(session):
    """The processes that a driver's Ray has started, which name its session or are its workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if session in text:
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
def test_workers_end_with_a_killed_driver(ray_turn):
    folder = tempfile.mkdtemp(prefix="r")  # short: Ray's sockets are in it
    environment = {**os.environ, "RAY_TMPDIR": folder}
    command = [sys.executable, "-c", DRIVER]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip().isdigit()  # items come as they are done, in any order
        assert ray_processes(folder)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    deadline = time.monotonic() + 60
    while ray_processes(folder) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not ray_processes(folder)
    shutil.rmtree(folder, ignore_errors=True)
