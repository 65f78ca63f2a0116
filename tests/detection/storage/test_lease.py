import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from detection.storage.lease import FOLDER, Lease, last_lease, last_number
from detection.storage.remote_folder import RemoteFolder

ROOT = Path(__file__).parents[3]

HOLDS = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from detection.storage.lease import Lease
from detection.storage.remote_folder import RemoteFolder
Lease(RemoteFolder(sys.argv[1]), beat=0.1).acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["s3", "file"])
def remote(request, tmp_path):
    if request.param == "s3":
        return RemoteFolder(f"{request.getfixturevalue('s3')}/run")
    return RemoteFolder(f"file://{tmp_path}/run")


def lease(remote, patience=1.0):
    return Lease(remote, beat=0.1, patience=patience)


def left(remote, number, host="elsewhere"):
    """A lease whose holder has died."""
    note = {"host": host, "process": 1, "count": 3, "released": False}
    remote.write(f"{FOLDER}/{number:012d}.json", json.dumps(note).encode())


def test_a_released_folder_is_taken_at_once(remote):
    first, second = lease(remote), lease(remote, patience=60)
    first.acquire()
    first.release()
    second.acquire()
    second.release()
    assert (first.number, second.number) == (1, 2)
    assert len(remote.versions(FOLDER)) == 1


def test_a_held_folder_is_refused(remote):
    first = lease(remote)
    first.acquire()
    try:
        with pytest.raises(RuntimeError, match=rf"process {os.getpid()} of {platform.node()} is working on it"):
            lease(remote).acquire()
    finally:
        first.release()
    assert last_number(remote) == 1


def test_of_many_processes_one_gets_the_folder(remote):
    outcomes = []

    def acquire():
        one = lease(remote, patience=60)
        try:
            one.acquire()
        except RuntimeError:
            outcomes.append(None)
        else:
            outcomes.append(one)

    threads = [threading.Thread(target=acquire) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = [one for one in outcomes if one]
    assert len(outcomes) == 8
    assert len(held) == 1
    held[0].release()


def test_a_killed_process_of_this_machine_loses_it_at_once(remote):
    with subprocess.Popen([sys.executable, "-c", HOLDS, remote.url], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(RuntimeError, match=f"process {process.pid} of "):
                lease(remote).acquire()
        finally:
            process.kill()
    one = lease(remote, patience=60)
    started = time.monotonic()
    one.acquire()
    assert time.monotonic() - started < 30
    one.release()
    assert one.number == 2


def test_a_silent_holder_elsewhere_loses_it_after_a_while(remote):
    left(remote, 7)
    one = lease(remote, patience=0.5)
    one.acquire()
    assert one.number == 8
    one.release()


def test_a_damaged_lease_is_that_of_a_silent_holder(remote):
    remote.write(f"{FOLDER}/{4:012d}.json", b"[")
    one = lease(remote, patience=0.3)
    one.acquire()
    one.release()
    assert one.number == 5


def test_a_holder_that_was_taken_for_dead_notices(remote):
    first = lease(remote)
    first.acquire()
    left(remote, 2)
    with pytest.raises(RuntimeError, match="another process took it over"):
        first.check()
    deadline = time.monotonic() + 10
    while not first.lost and time.monotonic() < deadline:
        time.sleep(0.05)
    assert first.lost
    first.release()
    number, note = last_lease(remote)
    assert (number, note.host) == (2, "elsewhere")  # not overwritten
