"""Large blocks are used again, and long loops return free memory to the system."""

import platform
import subprocess
import sys

import pytest

from detection import memory


def test_items_are_unchanged_and_memory_is_returned_regularly(monkeypatch):
    calls = []
    monkeypatch.setattr(memory, "_trim", lambda: calls.append(1))
    assert list(memory.kept_flat(range(2 * memory.EVERY + 1))) == list(range(2 * memory.EVERY + 1))
    assert len(calls) == 2
    memory.kept_flat([])


FAULTS = """
import resource
from detection import memory

{setup}
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytearray(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_large_blocks_are_used_again():
    def faults(setup):
        return int(subprocess.check_output([sys.executable, "-c", FAULTS.format(setup=setup)], text=True))

    assert faults("memory.reuse_large_blocks()") < faults("") / 5


def test_without_the_c_librarys_functions_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory, "_c_function", lambda name: None)
    memory.reuse_large_blocks()
    memory._trim()
